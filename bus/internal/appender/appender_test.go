package appender

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// bubble runs a test of an Appender in a bubble.
func bubble(t *testing.T, run func(t *testing.T, f *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "p")
		defer f.end()
		run(t, f)
	})
}

// sleep has time pass in the bubble.
func (f *fixture) sleep(d time.Duration) { time.Sleep(d) }

// publishing publishes one event each, in the order of payloads, and returns the results when all
// have returned.
func (f *fixture) publishing(ctx context.Context, payloads ...string) func() []Result {
	results := make([]Result, len(payloads))
	var running sync.WaitGroup
	for i, p := range payloads {
		running.Go(func() { results[i] = f.publish(ctx, p)[0] })
		synctest.Wait()
	}
	return func() []Result {
		running.Wait()
		return results
	}
}

// numbersOf are the publisher's numbers of the calls, as epoch.first-last.
func (f *fixture) numbersOf() string {
	var texts []string
	for _, b := range f.log.calls {
		texts = append(texts, fmt.Sprintf("%d.%d-%d", b.Publisher.Epoch, b.Publisher.Seq, int(b.Publisher.Seq)+len(b.Envelopes)-1)) //nolint:gosec // small
	}
	return strings.Join(texts, " ")
}

func (f *fixture) called(want string) {
	f.t.Helper()
	if got := f.numbersOf(); got != want {
		f.t.Errorf("the calls were %s, want %s", got, want)
	}
}

// fails checks that all results have an error that is each of these.
func (f *fixture) fails(results []Result, want ...error) {
	f.t.Helper()
	for _, r := range results {
		for _, target := range want {
			if !errors.Is(r.Err, target) {
				f.t.Errorf("%v is not %v", r.Err, target)
			}
		}
		if !slices.Contains(want, transport.ErrUncertain) && errors.Is(r.Err, transport.ErrUncertain) {
			f.t.Errorf("%v is uncertain", r.Err)
		}
	}
}

// A reply that is lost neither doubles an event nor leaves it out, and its offset is known.
func TestReplyLost(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		f.log.faults(lost, lost, fails(errLost))
		f.want(f.publish(t.Context(), "b", "c"), 2, true)
		f.want(f.publish(t.Context(), "d"), 4, false)
		f.called("1.1-1 1.2-3 1.2-3 1.2-3 1.2-3 1.4-4")
		f.has("a", "b", "c", "d")
	})
}

// Events that come during a call are appended by the next, together. Nobody else's goroutine is used
// while there is one publisher, and none is left.
func TestGathers(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.want(f.publish(t.Context(), "a"), 1, false)
		if n := f.goroutines.started.Load(); n != 0 {
			t.Errorf("%d goroutines", n)
		}
		f.log.faults(slow(time.Second))
		answers := f.publishing(t.Context(), "b", "c", "d")
		if n := f.Open(); n != 3 {
			t.Errorf("%d are open", n)
		}
		f.want(answers(), 2, false)
		synctest.Wait()
		if n := f.goroutines.started.Load(); n != 1 {
			t.Errorf("%d goroutines", n)
		}
		f.called("1.1-1 1.2-2 1.3-4")
		f.has("a", "b", "c", "d")
	})
}

// A call has 4096 events and 4 MiB at most, and those of one Append always in one.
func TestBounds(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Second))
		var running sync.WaitGroup
		several := func(n, size int) {
			running.Go(func() {
				list, results := make([]Event, n), make([]Result, n)
				for i := range list {
					list[i].Envelope = &transport.Envelope{ID: fmt.Sprint(i), Payload: make([]byte, size)}
				}
				f.Append(t.Context(), "t", 0, list, results)
				f.fails(results)
			})
			synctest.Wait()
		}
		several(1, 1)
		several(3000, 1)
		several(1096, 1)
		several(1, 1)
		several(2, 3<<20)
		several(1, 1)
		running.Wait()
		f.called("1.1-1 1.2-4097 1.4098-4098 1.4099-4100 1.4101-4101")
	})
}

// One partition does not wait for another.
func TestPartitionsApart(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Minute))
		answers, began := f.publishing(t.Context(), "a"), time.Now()
		var r [1]Result
		f.Append(t.Context(), "t", 1, events("b"), r[:])
		f.want(r[:], 1, false)
		if time.Since(began) > 0 {
			t.Error("it waited")
		}
		f.want(answers(), 1, false)
	})
}

// An event that is too large fails by itself.
func TestTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.max = 3
		f.connect("p")
		r := f.publish(t.Context(), "a", "large", "b")
		f.fails(r[1:2], transport.ErrTooLarge)
		f.want([]Result{r[0], r[2]}, 1, false)
		f.fails(f.publish(t.Context(), "large"), transport.ErrTooLarge)
		f.called("1.1-2")
		f.has("a", "b")
	})
}

// What the log refuses is the caller's to know, at once, and the numbers are used again.
func TestRefused(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		for _, err := range []error{
			transport.ErrLogFull, transport.ErrTooLarge, transport.ErrInvalidBatch, transport.ErrNoSuchTopic,
			transport.ErrInvalidTopic, transport.ErrClosed,
		} {
			f.log.faults(fails(fmt.Errorf("log: %w", err)))
			f.fails(f.publish(t.Context(), "a"), err)
		}
		f.want(f.publish(t.Context(), "b"), 1, false)
		f.called("1.1-1 1.1-1 1.1-1 1.1-1 1.1-1 1.1-1 1.1-1")
		f.has("b")
	})
}

// What the log refuses for one caller's events does not fail another's.
func TestCallersApart(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Second), fails(transport.ErrTooLarge), nil, fails(transport.ErrTooLarge))
		r := f.publishing(t.Context(), "a", "b", "c", "d")()
		f.want([]Result{r[0], r[1], r[3]}, 1, false)
		f.fails(r[2:3], transport.ErrTooLarge)
		f.called("1.1-1 1.2-4 1.2-2 1.3-3 1.3-3")
		f.has("a", "b", "d")
	})
}

// Where there was no room for an event, there is none for others of its size.
func TestFullForAll(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Second), fails(transport.ErrLogFull), fails(transport.ErrLogFull))
		r := f.publishing(t.Context(), "a", "bb", "cc", "d", "eee")()
		f.want([]Result{r[0], r[3]}, 1, false)
		f.fails([]Result{r[1], r[2], r[4]}, transport.ErrLogFull)
		f.called("1.1-1 1.2-5 1.2-2 1.2-2")
		f.has("a", "d")
	})
}

// The log is in no state to say that it has the events, and has them.
func TestNotReplicated(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(func(_ context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
			do()
			r[0].Err = fmt.Errorf("log: %w", transport.ErrNotReplicated)
		})
		r := f.publish(t.Context(), "a", "b")
		f.fails(r, transport.ErrNotReplicated)
		if r[1].Offset != 2 {
			t.Errorf("%+v", r)
		}
		f.want(f.publish(t.Context(), "c"), 3, false)
		f.called("1.1-2 1.3-3")
	})
}

// Each event learns what became of it, also in a call with those of others.
func TestResults(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(slow(time.Second))
		later := func(list []Event, i int) []Event {
			list[i].Due, list[i].UserID = time.Now().Add(time.Hour), true
			return list
		}
		wait, results := f.publishing(t.Context(), "a"), make([][]Result, 3)
		var running sync.WaitGroup
		for i, list := range [][]Event{events("b", "c"), later(events("d", "e"), 0), later(events("f", "d"), 1)} {
			results[i] = make([]Result, 2)
			running.Go(func() { f.Append(t.Context(), "t", 0, list, results[i]) })
			synctest.Wait()
		}
		wait()
		running.Wait()
		want := [][]Result{{{Offset: 2}, {Offset: 3}}, {{Waiting: true}, {Offset: 4}}, {{Offset: 5}, {Duplicate: true}}}
		if got := fmt.Sprint(results); got != fmt.Sprint(want) {
			t.Errorf("%s, want %v", got, want)
		}
		f.called("1.1-1 1.2-7")
	})
}

// A repetition brings the events as they were given, whatever the log has done to them.
func TestEnvelopesAreTheLogs(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		f.log.faults(func(_ context.Context, b []transport.Batch, r []transport.AppendResult, _ func()) {
			for i, env := range b[0].Envelopes {
				*env = transport.Envelope{Payload: []byte("changed")}
				b[0].Envelopes[i] = nil
			}
			r[0].Err = errLost
		})
		list, r := events("a", "b"), make([]Result, 2)
		list[1].Due = time.Now().Add(-time.Second)
		f.Append(t.Context(), "t", 0, list, r)
		f.want(r, 1, true)
		f.has("a", "b")
	})
}

// A log whose code panics, or ends the goroutine, hurts nobody.
func TestBrokenLog(t *testing.T) {
	for what, breaks := range map[string]func(){
		"panic": func() { panic(transport.ErrLogFull) },
		"exit":  runtime.Goexit,
	} {
		bubble(t, func(t *testing.T, f *fixture) {
			broken := func(_ context.Context, _ []transport.Batch, _ []transport.AppendResult, do func()) {
				time.Sleep(time.Second)
				do()
				breaks()
			}
			f.log.faults(broken, broken)
			r := f.publishing(t.Context(), "a", "b", "c")()
			if what == "panic" { // else the publisher's goroutine has ended
				f.fails(r[:1], transport.ErrUncertain)
			}
			f.fails(r[1:], transport.ErrUncertain)
			f.want(f.publish(t.Context(), "d"), 4, false)
			f.called("1.1-1 2.1-2 3.1-1")
			f.has("a", "b", "c", "d")
			if len(f.reported()) != 2 {
				t.Error(f.reported())
			}
		})
	}
}

// brokenError is an error whose methods panic.
type brokenError struct{}

func (brokenError) Error() string   { panic("Error") }
func (brokenError) Is(error) bool   { panic("Is") }
func (brokenError) Unwrap() []error { panic("Unwrap") }

// Errors of others do no harm.
func TestBrokenErrors(t *testing.T) {
	bubble(t, func(t *testing.T, f *fixture) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f.log.faults(fails(brokenError{}), slow(time.Second))
		answers := f.publishing(ctx, "a", "b")
		time.Sleep(time.Millisecond)
		cancel(brokenError{})
		r := answers()
		f.fails(r[:1], transport.ErrUncertain)
		for _, err := range []error{r[0].Err, r[1].Err, f.publish(ctx, "c")[0].Err} {
			if err == nil || err.Error() == "" {
				t.Error(err)
			}
		}
	})
}
