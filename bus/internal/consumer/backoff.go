package consumer

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// How long until something is tried again that the log refused.
const (
	firstRetry = 10 * time.Millisecond
	lastRetry  = time.Second
)

// backoff is until when something waits that failed. Its zero value has not failed.
type backoff struct {
	last time.Duration
	at   time.Time
	err  error // why
}

func (b *backoff) failed(err error) {
	b.err = err
	b.last = min(max(firstRetry, 2*b.last), lastRetry)
	b.at = time.Now().Add(b.last)
}

func (b *backoff) waits() bool { return b.last > 0 && time.Now().Before(b.at) }

// wait is failed, and waits.
func (b *backoff) wait(ctx context.Context, err error) error {
	b.failed(err)
	return b.rest(ctx)
}

// rest waits until it is time to try again.
func (b *backoff) rest(ctx context.Context) error {
	if !b.waits() {
		return nil
	}
	t := time.NewTimer(time.Until(b.at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errguard.Safe(context.Cause(ctx))
	}
}
