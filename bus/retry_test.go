package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

var errAgain = errors.New("again")

// start is one start of a handler.
type start struct {
	Event   string
	Attempt int
	After   time.Duration // of the test's beginning
}

// Each verdict: what the ledger says, when the attempts ran, their numbers.
func TestVerdicts(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		name    string
		results []error // of the attempts, in order
		starts  []start
		want    bus.Stats
		letter  error
		tries   int // of the letter
	}{
		{"nil", []error{nil}, []start{{"a1", 1, 0}}, bus.Stats{Accepted: 1, Handled: 1}, nil, 0},
		{"error", []error{cause}, []start{{"a1", 1, 0}}, bus.Stats{Accepted: 1, DeadLettered: 1, Failed: 1}, cause, 1},
		{"dead letter", []error{bus.DeadLetter(cause)}, []start{{"a1", 1, 0}}, bus.Stats{Accepted: 1, DeadLettered: 1, Failed: 1}, cause, 1},
		{"wrapped dead letter", []error{fmt.Errorf("outer: %w", bus.DeadLetter(cause))}, []start{{"a1", 1, 0}}, bus.Stats{Accepted: 1, DeadLettered: 1, Failed: 1}, cause, 1},
		{"discard", []error{bus.Discard(cause)}, []start{{"a1", 1, 0}}, bus.Stats{Accepted: 1, Discarded: 1, Failed: 1}, nil, 0},
		{
			"retries", []error{bus.RetryAfter(time.Second, errAgain), bus.RetryAfter(time.Minute, errAgain), nil},
			[]start{{"a1", 1, 0}, {"a1", 2, time.Second}, {"a1", 3, time.Minute + time.Second}},
			bus.Stats{Accepted: 1, Handled: 1, Failed: 2, Retried: 2}, nil, 0,
		},
		{
			"retries, then given up", []error{bus.RetryAfter(time.Second, errAgain), bus.RetryAfter(time.Second, errAgain), cause},
			[]start{{"a1", 1, 0}, {"a1", 2, time.Second}, {"a1", 3, 2 * time.Second}},
			bus.Stats{Accepted: 1, DeadLettered: 1, Failed: 3, Retried: 2}, cause, 3,
		},
		{
			"retry, then discarded", []error{bus.RetryAfter(time.Second, errAgain), bus.Discard(nil)},
			[]start{{"a1", 1, 0}, {"a1", 2, time.Second}},
			bus.Stats{Accepted: 1, Discarded: 1, Failed: 2, Retried: 1}, nil, 0,
		},
		{
			"snoozes count no attempt", []error{bus.Snooze(time.Second), bus.RetryAfter(time.Second, errAgain), bus.Snooze(time.Hour), nil},
			[]start{{"a1", 1, 0}, {"a1", 1, time.Second}, {"a1", 2, 2 * time.Second}, {"a1", 2, time.Hour + 2*time.Second}},
			bus.Stats{Accepted: 1, Handled: 1, Failed: 1, Retried: 1, Snoozed: 2}, nil, 0,
		},
		{
			"negative delay", []error{bus.RetryAfter(-time.Hour, errAgain), bus.Snooze(-1), nil},
			[]start{{"a1", 1, 0}, {"a1", 2, time.Millisecond}, {"a1", 2, 2 * time.Millisecond}},
			bus.Stats{Accepted: 1, Handled: 1, Failed: 1, Retried: 1, Snoozed: 1}, nil, 0,
		},
	} {
		for _, key := range []string{"a", ""} {
			for _, policy := range []bus.Policy{bus.Block, bus.DropOldest} {
				t.Run(fmt.Sprintf("%s/key=%q/%v", tc.name, key, policy), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBus(t, bus.Config{})
						topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
						began := time.Now()
						var starts list[start]
						s, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
							starts.add(start{"a1", m.Attempt, time.Since(began)})
							return tc.results[len(starts.get())-1]
						}, bus.Mailbox(10, policy))
						if err != nil {
							t.Fatal(err)
						}
						publish(t, topic, event{key, 1})
						shutdown(t, b)
						starts.require(t, "starts", tc.starts...)
						st := stats(t, s)
						st.HighWater, st.Handling = 0, bus.Histogram{} // sampled, and not the matter here
						if st != tc.want {
							t.Errorf("%+v\nwant %+v", st, tc.want)
						}
						letters := s.DeadLetters()
						if tc.tries == 0 && len(letters) > 0 || tc.tries > 0 && (len(letters) != 1 || letters[0].Attempts != tc.tries || letters[0].Err != tc.letter) {
							t.Errorf("letters %+v", letters)
						}
					})
				})
			}
		}
	}
}

func TestVerdictErrors(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		err  error
		text string
		is   error
	}{
		{bus.RetryAfter(time.Second, cause), "retry after 1s: cause", cause},
		{bus.Snooze(time.Minute), "snooze for 1m0s", nil},
		{bus.DeadLetter(cause), "dead letter: cause", cause},
		{bus.DeadLetter(nil), "dead letter", nil},
		{bus.Discard(cause), "discard: cause", cause},
		{bus.Discard(nil), "discard", nil},
	} {
		if tc.err.Error() != tc.text {
			t.Errorf("%q, want %q", tc.err, tc.text)
		}
		if tc.is != nil && !errors.Is(tc.err, tc.is) {
			t.Errorf("%v does not wrap its cause", tc.err)
		}
		if v, ok := bus.VerdictOf(fmt.Errorf("outer: %w", tc.err)); !ok || error(v) != tc.err {
			t.Errorf("VerdictOf found %v", v)
		}
	}
	if v, ok := bus.VerdictOf(nil); ok || v != nil {
		t.Errorf("a verdict of nil: %v", v)
	}
	if _, ok := bus.VerdictOf(cause); ok {
		t.Error("a verdict of a plain error")
	}
	if text := bus.RetryAfter(time.Second, nil).Error(); text != "retry after 1s" {
		t.Errorf("a retry without a cause says %q", text)
	}
}

// A failing key waits with all its later events; other keys of the same lane
// go on, and the order within each key stays.
func TestOrderWithinKeyWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var done list[string]
		failures := 3
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if e == (event{"a", 1}) && failures > 0 {
				failures--
				return bus.RetryAfter(time.Minute, errAgain)
			}
			done.add(e.String())
			return nil
		})
		publish(t, topic, event{"a", 1}, event{"a", 2}, event{"b", 3}, event{"a", 4}, event{"", 5}, event{"c", 6})
		synctest.Wait()
		done.require(t, "while a is deferred", "b3", "5", "c6")
		if st := stats(t, s); st.Deferred != 3 || st.Handled != 3 || st.Queued+st.Running != 0 {
			t.Errorf("%v", st)
		}
		publish(t, topic, event{"b", 7}, event{"a", 8})
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		done.require(t, "while a is still deferred", "b3", "5", "c6", "b7")
		shutdown(t, b)
		done.require(t, "in the end", "b3", "5", "c6", "b7", "a1", "a2", "a4", "a8")
		if st := stats(t, s); st.Handled != 8 || st.Retried != 3 {
			t.Errorf("%v", st)
		}
	})
}

// Those behind a deferred event fail, and are deferred, in their turn; another key
// that is due between is not held up by the delays.
func TestChainOfFailuresWithinKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		began := time.Now()
		var done list[string]
		subscribe(t, topic, "s", func(ctx context.Context, e event) error { return nil })
		s, err := topic.SubscribeMessage(t.Context(), "failing", func(_ context.Context, m bus.Message[event]) error {
			if m.Attempt == 1 {
				return bus.RetryAfter(time.Duration(m.Value.N)*time.Second, errAgain)
			}
			done.add(fmt.Sprint(m.Value, "@", time.Since(began)))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, event{"a", 10}, event{"a", 1}, event{"b", 2}, event{"a", 3}, event{"b", 4})
		shutdown(t, b)
		done.require(t, "second attempts", "b2@2s", "b4@6s", "a10@10s", "a1@11s", "a3@14s")
		if st := stats(t, s); st.Handled != 5 || st.Retried != 5 {
			t.Errorf("%v", st)
		}
	})
}

// Without a key only the failing event waits: it is overtaken.
func TestUnkeyedFailingEventIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var done list[int]
		failed := map[int]bool{}
		subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n%2 == 1 && !failed[n] {
				failed[n] = true
				return bus.RetryAfter(time.Duration(10-n)*time.Second, errAgain)
			}
			done.add(n)
			return nil
		})
		publish(t, topic, 1, 2, 3, 4)
		shutdown(t, b)
		done.require(t, "order", 2, 4, 3, 1)
	})
}

// Events that are due at the same time run in the order in which they failed.
func TestEqualDelaysKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var done list[int]
		failed := map[int]bool{}
		subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if !failed[n] {
				failed[n] = true
				return bus.RetryAfter(time.Second, errAgain)
			}
			done.add(n)
			return nil
		})
		want := make([]int, 100)
		for i := range want {
			want[i] = i
		}
		if err := topic.PublishBatch(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		shutdown(t, b)
		done.require(t, "order", want...)
	})
}

// At MaxDeferred the lane takes nothing new, however free the keys, and nothing is
// lost.
func TestMaxParkedStopsTheIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var done list[string]
		var open atomic.Bool
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if e.Key == "bad" && !open.Load() {
				return bus.Snooze(time.Minute)
			}
			done.add(e.String())
			return nil
		}, bus.MaxDeferred(3), bus.Mailbox(4, bus.Block))
		publish(t, topic, event{"bad", 1}, event{"good", 2}, event{"bad", 3}, event{"bad", 4})
		synctest.Wait()
		done.require(t, "below the bound", "good2")
		publish(t, topic, event{"good", 5}, event{"bad", 6}, event{"good", 7}, event{"bad", 8})
		synctest.Wait()
		if st := stats(t, s); st.Deferred != 3 || st.Queued != 4 || st.Handled != 1 {
			t.Errorf("at the bound: %v", st)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := topic.Publish(ctx, event{"good", 9}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("publish behind a full mailbox: %v", err)
		}
		open.Store(true)
		shutdown(t, b)
		// What is deferred takes turns with what arrives; each key keeps its order.
		done.require(t, "in the end", "good2", "bad1", "good5", "bad3", "bad4", "good7", "bad6", "bad8")
		if st := stats(t, s); st.Handled != 8 || st.Accepted != 8 {
			t.Errorf("%v", st)
		}
	})
}

// A deferred event that is due at once, again and again, must not keep the lane
// from the events of other keys: what it waits for may be among them.
func TestImmediateRetryLetsOthersGoOn(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
	}{{"snooze", bus.Snooze(0)}, {"retry", bus.RetryAfter(0, errAgain)}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				ready, attempts := false, 0
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
					if e.Key == "b" {
						ready = true
						return nil
					}
					if attempts++; ready {
						return nil
					}
					if attempts > 10_000 {
						return errors.New("b was never handled")
					}
					return tc.err
				})
				s.Pause()
				publish(t, topic, event{"a", 1}, event{"b", 2})
				s.Resume()
				shutdown(t, b)
				if st := stats(t, s); st.Handled != 2 {
					t.Errorf("%d attempts at a1 while b2 waited in the same lane: %v", attempts, st)
				}
			})
		})
	}
}
