package appender

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// A caller whose context ends before the log was asked has published nothing. Later, it can't tell:
// the append goes on without it.
func TestContextEnds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Hour), slow(time.Minute))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errStopped)
		defer cancel()
		began := time.Now()
		r := f.publishing(ctx, "a", "b")()
		f.fails(r[:1], transport.ErrUncertain, errStopped)
		f.fails(r[1:], errStopped)
		if time.Since(began) != time.Second {
			t.Error("they returned late")
		}
		if n := f.Open(); n != 1 {
			t.Errorf("%d are open", n)
		}
		f.fails(f.publish(ctx, "c"), errStopped)
		f.want(f.publish(t.Context(), "d"), 2, false)
		f.has("a", "d")
	})
}

// A caller that shares a call leaves it to the others.
func TestContextEndsOfOne(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errStopped)
		defer cancel()
		f.log.faults(slow(time.Second), slow(time.Minute))
		first := f.publishing(t.Context(), "a", "b")
		leaves := f.publishing(ctx, "c")
		last := f.publishing(t.Context(), "d")
		f.fails(leaves(), transport.ErrUncertain, errStopped)
		f.want(first(), 1, false)
		f.want(last(), 4, false)
		f.has("a", "b", "c", "d")
	})
}

// What the log is given ends with its caller, and says why.
func TestCallContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key struct{}
		queue, endQueue := context.WithCancelCause(context.WithValue(t.Context(), key{}, "queue"))
		defer endQueue(nil)
		begin := func() (*call, context.CancelCauseFunc) {
			ctx, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "caller"))
			return &call{queue: queue, caller: ctx}, cancel
		}
		for _, ask := range []bool{false, true} {
			c, cancel := begin()
			if ask {
				select {
				case <-c.Done():
					t.Error("it has ended")
				default:
				}
			}
			if c.Err() != nil || c.Value(key{}) != "queue" {
				t.Error(c.Err(), c.Value(key{}))
			}
			cancel(errStopped)
			synctest.Wait()
			if c.Err() == nil {
				t.Error("it has not ended")
			}
			if ask && !errors.Is(context.Cause(c), errStopped) {
				t.Error(context.Cause(c))
			}
			c.release()
			<-c.Done()
		}
		c, cancel := begin()
		below, endBelow := context.WithCancel(c)
		defer endBelow()
		endQueue(errLost)
		<-below.Done()
		if err := context.Cause(below); !errors.Is(err, errLost) {
			t.Error(err)
		}
		c.release()
		cancel(nil)
		c, cancel = begin()
		defer cancel(nil)
		if err := context.Cause(c); !errors.Is(err, errLost) {
			t.Error(err)
		}
	})
}
