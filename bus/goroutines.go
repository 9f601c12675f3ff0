package bus

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

// goTell runs f, which tells of gaps, on a goroutine that Shutdown and Close wait for, unless the
// transport has ended. Until then its own goroutine is waited for, and so working is not 0.
func (b *Bus) goTell(f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.silent || b.root == nil {
		return false
	}
	b.tellers.Add(1)
	b.goCounted("OnGap", func() {
		defer b.changes.Notify() // after tellers
		defer b.tellers.Add(-1)
		f()
	})
	return true
}

// cleanup runs f, which ends with its context, beside everything else; Shutdown
// and Close wait for it. At the end of the bus it runs with a context that has ended.
func (b *Bus) cleanup(f func(ctx context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.mu.left:
	case b.work.Err() != nil:
		b.mu.last = append(b.mu.last, f)
	default:
		b.cleanupLocked(f)
	}
}

// cleanupLast runs the cleanup that was asked for since the transport was told to end, and nothing after that.
func (b *Bus) cleanupLast() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.left = true
	if len(b.mu.last) > 0 {
		b.cleanupLocked(b.mu.last...)
		b.mu.last = nil
	}
}

// cleanupLocked runs all one after another on a goroutine that is waited for. If a transport ends that goroutine, by a panic
// say, another goes on with the rest.
func (b *Bus) cleanupLocked(all ...func(ctx context.Context) error) {
	b.cleaning.Add(int64(len(all)))
	b.goCounted("unsubscribing", func() {
		defer func() {
			if len(all) > 0 {
				b.cleaning.Add(-int64(len(all)))
				b.mu.Lock()
				defer b.mu.Unlock()
				b.cleanupLocked(all[1:]...)
			}
		}()
		for ; len(all) > 0; all = all[1:] {
			if err := all[0](b.work); err != nil && b.work.Err() == nil {
				b.log.Warn("the transport did not unsubscribe", zap.Error(errguard.Safe(err)))
			}
			b.cleaning.Add(-1)
		}
	})
}

// goTracked runs f, which ends by itself, unless the bus has ended; Shutdown and
// Close wait for it.
func (b *Bus) goTracked(what string, f func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.work.Err() != nil {
		return false
	}
	b.goCounted(what, f)
	return true
}

// goCounted runs f on a goroutine that is counted and waited for. The methods of a transport, which f
// may call, are user code: what they do to the goroutine is logged.
func (b *Bus) goCounted(what string, f func()) {
	b.workers.Add(1)
	b.working.Go(func() {
		defer b.workers.Add(-1)
		returned := false
		defer func() {
			if returned {
				return
			}
			err := fmt.Errorf("%s: %w", what, usercode.ErrGoexit)
			if r := recover(); r != nil {
				err = &usercode.PanicError{What: what, Value: r, Stack: debug.Stack()}
			}
			reportTo(b.log, what, err)
		}()
		f()
		returned = true
	})
}
