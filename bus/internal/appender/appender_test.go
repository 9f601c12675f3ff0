package appender

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// A reply that is lost neither doubles an event nor leaves it out, and its offset is known.
func TestReplyLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "p")
		defer f.end()
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.log.faults(lost, lost, fails(errLost))
		f.want(f.publish(t.Context(), "b", "c"), 2, true)
		f.want(f.publish(t.Context(), "d"), 4, false)
		f.has("a", "b", "c", "d")
	})
}

// A caller whose context ends before the log was asked has published nothing. Later, it can't tell.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "p")
		defer f.end()
		f.log.faults(slow(time.Hour))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errStopped)
		defer cancel()
		var first, second []Result
		var both sync.WaitGroup
		both.Go(func() { first = f.publish(ctx, "a") })
		synctest.Wait()
		both.Go(func() { second = f.publish(ctx, "b") })
		both.Wait()
		if err := first[0].Err; !errors.Is(err, transport.ErrUncertain) || !errors.Is(err, errStopped) {
			t.Error(err)
		}
		if err := second[0].Err; errors.Is(err, transport.ErrUncertain) || !errors.Is(err, errStopped) {
			t.Error(err)
		}
		f.want(f.publish(t.Context(), "c"), 2, false)
		f.has("a", "c")
	})
}
