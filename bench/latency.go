package main

import (
	"fmt"
	"runtime"
	"time"
)

// timings measures n calls of do, one after another, and ends s.
func timings(s stopper, n uint64, limit time.Duration, do func(id uint64) error) (sample, error) {
	result, err := timingsRunning(n, limit, do)
	if stopErr := stopWithin(s, limit); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

func timingsRunning(n uint64, limit time.Duration, do func(id uint64) error) (sample, error) {
	took := make([]float64, n)
	warm := max(1, n/10)
	deadline := time.Now().Add(limit)
	var before, after runtime.MemStats
	var last time.Time
	for id := uint64(1); id <= warm+n; id++ {
		if id == warm+1 {
			runtime.ReadMemStats(&before)
			last = time.Now()
		}
		if err := do(id); err != nil {
			return nil, err
		}
		if id <= warm {
			continue
		}
		now := time.Now() // one clock read a call: the end of one is the start of the next
		took[id-warm-1] = float64(now.Sub(last))
		last = now
		if now.After(deadline) {
			return nil, fmt.Errorf("%w after %v: %d of %d calls", errLate, limit, id-warm, n)
		}
	}
	runtime.ReadMemStats(&after)
	return sample{
		"p50": quantile(took, 0.5),
		"p99": quantile(took, 0.99),
		"B":   float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
	}, nil
}

// pollsPerLook is how often a waiting producer yields between looks at the clock.
const pollsPerLook = 4096

// pingPong measures n events, each published when the one before was handled.
// The producer gives way to others until it sees that. t's latch is polled.
func pingPong(f feed, t *tally, n uint64, limit time.Duration) (sample, error) {
	s, err := timings(f, n, limit, func(id uint64) error {
		t.latch.arm(1)
		t.want, t.wantSum = t.want+1, t.wantSum+id
		if err := f.produce(id, 1); err != nil {
			return err
		}
		var since time.Time
		for polls := 1; t.latch.left.Load() > 0; polls++ {
			runtime.Gosched()
			if polls%pollsPerLook != 0 {
				continue
			}
			if since.IsZero() {
				since = time.Now()
			} else if time.Since(since) > limit {
				return fmt.Errorf("%w after %v: event %d was not handled", errLate, limit, id)
			}
		}
		return nil
	})
	if err == nil {
		err = t.verify()
	}
	return s, err
}
