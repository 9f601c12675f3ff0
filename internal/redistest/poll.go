package redistest

import (
	"context"
	"fmt"
	"time"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 10 * time.Millisecond

// poll calls cond until it returns nil. When ctx ends first, it returns an
// error that is ctx's and tells what was awaited and what cond said last.
func poll(ctx context.Context, what string, cond func(ctx context.Context) error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	var last error // what was missing, rather than that ctx cut the look short
	for {
		err := cond(ctx)
		if err == nil {
			return nil
		}
		if !over(ctx) || last == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redistest: %s: %w (last: %w)", what, context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}

// over tells whether ctx has ended, or its deadline has passed and it only has not
// noticed: a connection with the same deadline fails a moment before ctx does.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}
