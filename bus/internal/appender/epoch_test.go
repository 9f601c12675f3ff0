package appender

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// anew has the topic be empty, as after a fail-over that has lost everything.
func (f *fixture) anew() {
	f.t.Helper()
	if err := f.log.DeleteTopic(f.t.Context(), "t"); err != nil {
		f.t.Fatal(err)
	}
	f.open("t")
}

// A log that does not know the publisher any more takes its events in a new epoch, if none of them
// was asked for before.
func TestPublisherForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.anew()
		f.want(f.publish(t.Context(), "b"), 1, false)
		f.want(f.publish(t.Context(), "c"), 2, false)
		f.called("1.1-1 1.2-2 2.1-1 2.2-2")
		f.has("b", "c")
		if len(f.reported()) != 1 {
			t.Error(f.reported())
		}
	})
}

// If one was, it is uncertain: in a new epoch it would be taken again.
func TestPublisherForgottenInDoubt(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.log.faults(func(ctx context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
			lost(ctx, nil, r, do)
			f.anew()
		})
		f.fails(f.publish(t.Context(), "b"), transport.ErrUncertain, transport.ErrOutOfSequence)
		f.want(f.publish(t.Context(), "c"), 1, false)
		f.called("1.1-1 1.2-2 1.2-2 2.1-1")
		f.has("c")
	})
}

// A refusal says nothing of an attempt before it.
func TestRefusedInDoubt(t *testing.T) {
	for _, err := range []error{transport.ErrClosed, transport.ErrNoSuchTopic, transport.ErrTooLarge, transport.ErrStalePublisher} {
		bubble(t, func(t *testing.T, f *fixture) {
			f.log.faults(slow(time.Second), lost, fails(err))
			r := f.publishing(t.Context(), "a", "b", "c")()
			f.fails(r[1:], transport.ErrUncertain, err)
			f.want(f.publish(t.Context(), "d"), 4, false)
			f.called("1.1-1 1.2-3 1.2-3 2.1-1")
			f.has("a", "b", "c", "d")
		})
	}
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(lost, fails(transport.ErrLogFull), fails(transport.ErrLogFull))
		f.want(f.publish(t.Context(), "a"), 1, true)
		f.called("1.1-1 1.1-1 1.1-1 1.1-1")
	})
}

// Two with one name are a mistake, and no event is lost or doubled by it.
func TestNumbersInUse(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a", "b"), 1, false)
		first := f.Appender
		f.connect("p")
		f.want(f.publish(t.Context(), "c"), 3, false)
		second := f.Appender
		f.Appender = first
		f.want(f.publish(t.Context(), "d"), 4, false)
		f.want(f.publish(t.Context(), "e"), 5, false)
		f.Appender = second
		f.want(f.publish(t.Context(), "f"), 6, false)
		f.called("1.1-2 1.1-1 2.1-1 1.3-3 2.1-1 4.1-1 4.2-2 2.2-2 3.1-1 5.1-1")
		f.has("a", "b", "c", "d", "e", "f")
		if len(f.reported()) != 5 {
			t.Error(f.reported())
		}
		first.Close(errStopped)
	})
}

// A log for which no numbers will do is asked eight times more.
func TestNoNumbersWillDo(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		for range maxRaises + 1 {
			f.log.faults(fails(transport.ErrOutOfSequence))
		}
		f.fails(f.publish(t.Context(), "a"), transport.ErrOutOfSequence)
		f.want(f.publish(t.Context(), "b"), 1, false)
		if len(f.reported()) != maxRaises {
			t.Error(f.reported())
		}
		repeated := func(_ context.Context, _ []transport.Batch, r []transport.AppendResult, _ func()) {
			r[0].Repeated = true
		}
		for range maxRaises + 1 {
			f.log.faults(repeated)
		}
		f.fails(f.publish(t.Context(), "c"), transport.ErrStalePublisher)
		f.want(f.publish(t.Context(), "d"), 2, false)
	})
}

// After half of the time for which logs remember a publisher it begins an epoch.
func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.sleep(transport.PublisherIdle/2 - 1)
		f.want(f.publish(t.Context(), "b"), 2, false)
		f.sleep(transport.PublisherIdle / 2)
		f.want(f.publish(t.Context(), "c"), 3, false)
		f.sleep(2 * transport.PublisherIdle)
		f.want(f.publish(t.Context(), "d"), 4, false)
		f.called("1.1-1 1.2-2 2.1-1 3.1-1")
		f.has("a", "b", "c", "d")
		if f.reported() != nil {
			t.Error(f.reported())
		}
	})
}

// A clock that has gone on while the other stood still counts.
func TestElapsed(t *testing.T) {
	now := time.Now()
	if got := elapsed(now, now.Add(time.Second)); got != time.Second {
		t.Error(got)
	}
	if got := elapsed(now, now.Round(0).Add(time.Hour)); got != time.Hour {
		t.Error(got)
	}
}

// An append is repeated for 15 minutes. Those who still wait then get an error, and others a new
// epoch. Report tells of it, rarely.
func TestPatience(t *testing.T) {
	for what, always := range map[string]fault{"fails": fails(transport.ErrLogFailed), "hangs": slow(time.Hour)} {
		t.Run(what, func(t *testing.T) {
			bubble(t, func(t *testing.T, f *fixture) {
				var works atomic.Bool
				began := time.Now()
				f.log.always = func(ctx context.Context, b []transport.Batch, r []transport.AppendResult, do func()) {
					if !works.Load() {
						always(ctx, b, r, do)
						return
					}
					do()
				}
				answers := f.publishing(t.Context(), "a", "b")
				f.sleep(patience - time.Millisecond)
				if n := f.Open(); n != 2 {
					t.Errorf("%d are open", n)
				}
				f.sleep(time.Minute)
				works.Store(true)
				if n := f.Open(); n != 1 {
					t.Errorf("%d are open", n)
				}
				f.sleep(patience)
				r := answers()
				f.fails(r[:1], transport.ErrUncertain)
				if what == "fails" {
					f.want(r[1:], 1, true)
				}
				if took := time.Since(began); took > 3*patience {
					t.Error("it took", took)
				}
				next := uint64(len(f.kept())) + 1
				f.want(f.publish(t.Context(), "c"), next, false)
				if len(f.reported()) > 4 || len(f.reported()) < 2 {
					t.Error(f.reported())
				}
			})
		})
	}
}

// Attempts come once a second at last.
func TestBackoff(t *testing.T) {
	total := time.Duration(0)
	for n := 1; n < 10_000; n++ {
		d := backoff(n)
		if d < time.Millisecond || d > time.Second {
			t.Fatal(n, d)
		}
		total += d
	}
	if total < 9_900*time.Second {
		t.Error(total)
	}
}

// What the contract does not name is unknown.
func TestEffect(t *testing.T) {
	for want, errs := range map[effect][]error{
		taken:        {nil, transport.ErrNotReplicated},
		unknown:      {errLost, context.Canceled, transport.ErrUncertain, transport.ErrLogFailed, transport.ErrFenced, errors.Join(transport.ErrClosed, transport.ErrUncertain), errors.Join(transport.ErrNotReplicated, transport.ErrUncertain)},
		outOfNumbers: {transport.ErrOutOfSequence, transport.ErrStalePublisher},
		refused:      {transport.ErrLogFull, transport.ErrTooLarge, transport.ErrInvalidBatch, transport.ErrNoSuchTopic, transport.ErrClosed},
	} {
		for _, err := range errs {
			if err != nil {
				err = fmt.Errorf("log: %w", err)
			}
			if got := effectOf(err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
}
