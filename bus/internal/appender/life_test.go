package appender

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// When the bus has ended nobody goes on: what was asked for is uncertain, what waits is closed.
func TestBusEnded(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(func(ctx context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
			time.Sleep(time.Second)
			f.goroutines.end()
			lost(ctx, nil, r, do)
		})
		r := f.publishing(t.Context(), "a", "b")()
		f.fails(r[:1], transport.ErrUncertain, transport.ErrClosed, errLost)
		f.fails(r[1:], transport.ErrClosed)
		f.has("a")
	})
}

// Close ends all there is.
func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Second), slow(time.Hour))
		answers := f.publishing(t.Context(), "a", "b")
		time.Sleep(2 * time.Second)
		behind := f.publishing(t.Context(), "c")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errLost)
		defer cancel()
		if err := f.Wait(ctx); !errors.Is(err, errLost) {
			t.Errorf("Wait: %v", err)
		}
		f.Close(errStopped)
		r := answers()
		f.want(r[:1], 1, false)
		f.fails(r[1:], transport.ErrUncertain, transport.ErrClosed, errStopped)
		f.fails(behind(), transport.ErrClosed, errStopped)
		f.fails(f.publish(t.Context(), "d"), transport.ErrClosed, errStopped)
		f.Append(t.Context(), "another", 0, events("d"), r[:1])
		f.fails(r[:1], transport.ErrClosed, errStopped)
		f.has("a")
	})
}

// Close reaches a call on its caller's goroutine, also while it waits to repeat it.
func TestCloseFirst(t *testing.T) {
	for _, at := range []fault{slow(time.Hour), fails(errLost), fails(transport.ErrOutOfSequence)} {
		bubble(t, func(t *testing.T, f *fixture) {
			f.log.faults(at, at, at, at)
			answers := f.publishing(t.Context(), "a")
			f.Close(errStopped)
			if err := answers()[0].Err; !errors.Is(err, transport.ErrClosed) || !errors.Is(err, errStopped) {
				t.Error(err)
			}
		})
	}
}

// What is forgotten begins in a new epoch, so that no number is given twice.
func TestForget(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.Forget("another")
		f.want(f.publish(t.Context(), "b"), 2, false)
		f.Forget("t")
		if len(f.queues) != 0 {
			t.Error("it was not forgotten")
		}
		f.log.faults(slow(time.Second), slow(time.Second))
		answers := f.publishing(t.Context(), "c", "d")
		f.Forget("t")
		f.want(answers(), 3, false)
		synctest.Wait()
		if len(f.queues) != 0 {
			t.Error("it was not forgotten when it was idle")
		}
		f.want(f.publish(t.Context(), "e"), 5, false)
		f.called("1.1-1 1.2-2 2.1-1 2.2-2 3.1-1")
		f.has("a", "b", "c", "d", "e")
	})
}

// Forget beside publishers loses nothing.
func TestForgetMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		var running sync.WaitGroup
		for n := range 4 {
			running.Go(func() {
				for i := range 100 {
					f.fails(f.publish(t.Context(), fmt.Sprint(n, "/", i)))
					if i%10 == n {
						f.Forget("t")
					}
				}
			})
		}
		running.Wait()
		if n := len(f.kept()); n != 400 {
			t.Errorf("the log has %d events", n)
		}
		if f.reported() != nil {
			t.Error(f.reported())
		}
	})
}
