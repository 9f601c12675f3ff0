package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

func isDone(s *bus.Subscription) bool {
	select {
	case <-s.Done():
		return true
	default:
		return false
	}
}

// Pause lets running handlers finish and starts none; the mailbox goes on
// filling; Resume goes on in order.
func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var done list[int]
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			time.Sleep(time.Second)
			done.add(n)
			return nil
		}, bus.Mailbox(3, bus.DropNewest))
		publish(t, topic, 1, 2)
		synctest.Wait() // 1 runs
		s.Pause()
		s.Pause()
		time.Sleep(time.Minute)
		done.require(t, "while paused", 1)
		publish(t, topic, 3, 4, 5)
		if st := stats(t, s); st.Queued != 3 || st.Dropped != 1 || st.Running != 0 {
			t.Errorf("%v", st)
		}
		s.Resume()
		s.Resume()
		time.Sleep(time.Minute)
		done.require(t, "after", 1, 2, 3, 4)
		if isDone(s) || s.Err() != nil {
			t.Error("a pause ended the subscription")
		}
	})
}

// Drain handles what was accepted, paused or not, and ends the subscription
// without an error; others of the topic go on.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var done list[int]
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			time.Sleep(time.Second)
			done.add(n)
			return nil
		})
		other := subscribe(t, topic, "other", ignore[int])
		s.Pause()
		publish(t, topic, 1, 2, 3)
		errs := make(chan error, 3)
		for range 3 {
			go func() { errs <- s.Drain(t.Context()) }()
		}
		synctest.Wait()
		publish(t, topic, 4) // for the other alone
		s.Pause()            // too late
		for range 3 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if !isDone(s) || s.Err() != nil {
			t.Errorf("done %v, err %v", isDone(s), s.Err())
		}
		done.require(t, "handled", 1, 2, 3)
		if err := s.Drain(t.Context()); err != nil {
			t.Errorf("drain again: %v", err)
		}
		s.Pause()
		s.Resume()
		synctest.Wait()
		if st := stats(t, other); st.Handled != 4 {
			t.Errorf("%v", st)
		}
		if st := topic.Stats(); st.Published != 4 || st.Unrouted != 0 || st.Subscriptions != 1 {
			t.Errorf("%+v", st)
		}
		if err := other.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		publish(t, topic, 5)
		if st := topic.Stats(); st.Published != 5 || st.Unrouted != 1 || st.Subscriptions != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A Drain whose context ends cancels handlers, abandons the rest and says how
// much that is.
func TestHastyDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		s := subscribe(t, topic, "worker", func(ctx context.Context, n int) error {
			<-ctx.Done()
			return ctx.Err()
		})
		publish(t, topic, 1, 2, 3)
		cause := errors.New("had enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		err := s.Drain(ctx)
		requireError(t, err, cause, "drain", "jobs", "worker")
		requireLeft(t, err, 3, 1)
		<-s.Done()
		if st := stats(t, s); st.Abandoned != 3 || s.Err() != nil {
			t.Errorf("%v; %v", st, s.Err())
		}
	})
}

// A Drain that something else ended abruptly must not say that everything was
// handled.
func TestDrainCutShort(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(b *bus.Bus, s *bus.Subscription)
	}{
		{"by Close", func(b *bus.Bus, _ *bus.Subscription) { b.Close() }},
		{"by a hasty Drain", func(_ *bus.Bus, s *bus.Subscription) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			s.Drain(ctx)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				s := subscribe(t, topic, "worker", func(ctx context.Context, n int) error {
					<-ctx.Done()
					return ctx.Err()
				})
				publish(t, topic, 1, 2, 3)
				got := make(chan error, 1)
				go func() { got <- s.Drain(context.Background()) }()
				synctest.Wait()
				tc.end(b, s)
				if err := <-got; err == nil {
					t.Errorf("Drain returned nil: %v", stats(t, s))
				}
			})
		})
	}
}

// A Drain that the panic budget cut short must not say that everything was
// handled.
func TestDrainCutShortByPanicBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		s := subscribe(t, topic, "worker", func(ctx context.Context, n int) error { panic("always") }, bus.PanicBudget(0, time.Second))
		s.Pause()
		publish(t, topic, 1, 2, 3)
		err := s.Drain(t.Context())
		if st := stats(t, s); err == nil && st.Abandoned > 0 {
			t.Errorf("Drain returned nil: %v", st)
		}
	})
}

// Drain's context bounds it whatever the lane does, its callbacks included.
func TestDrainIsBoundedBesideOnDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		s := subscribe(t, topic, "worker", func(context.Context, int) error { return errBad },
			bus.OnDeadLetter(func(context.Context, bus.Letter) { time.Sleep(time.Hour) }))
		publish(t, topic, 1)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if !returns(time.Minute, func() { s.Drain(ctx) }) {
			t.Error("Drain did not return when its context had ended")
		}
		time.Sleep(2 * time.Hour)
	})
}

// Close names what outlives its grace, and does not blame a transport that is
// not there.
func TestCloseNamesWhatRuns(t *testing.T) {
	for _, tc := range []struct {
		name    string
		handler func(context.Context, int) error
		opts    []bus.SubscribeOption
	}{
		{"handler", func(context.Context, int) error { time.Sleep(time.Hour); return nil }, nil},
		{"callback", func(context.Context, int) error { return errBad }, []bus.SubscribeOption{bus.OnDeadLetter(func(context.Context, bus.Letter) { time.Sleep(time.Hour) })}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, err := bus.New(bus.Config{Grace: 3 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				s := subscribe(t, topic, "worker", tc.handler, tc.opts...)
				publish(t, topic, 1, 2)
				synctest.Wait()
				began := time.Now()
				err = b.Close()
				if err == nil || !strings.Contains(err.Error(), "jobs/worker") || strings.Contains(err.Error(), "transport") {
					t.Errorf("%v", err)
				}
				if d := time.Since(began); d != 3*time.Second {
					t.Errorf("after %v", d)
				}
				if isDone(s) {
					t.Error("done while its handler runs")
				}
				time.Sleep(2 * time.Hour)
				if !isDone(s) || stats(t, s).Pending() != 0 {
					t.Errorf("done %v: %v", isDone(s), stats(t, s))
				}
				if err := b.Close(); err != nil {
					t.Errorf("Close when all had ended: %v", err)
				}
			})
		})
	}
}

// Close ends the handlers' contexts, with ErrClosed as the cause, and waits for
// the handlers.
func TestCloseCancelsHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		var causes list[string]
		var subs []*bus.Subscription
		for i := range 3 {
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: fmt.Sprint("n", i)})
			subs = append(subs, subscribe(t, topic, "s", func(ctx context.Context, _ int) error {
				<-ctx.Done()
				time.Sleep(time.Second) // it takes its time to end
				causes.add(fmt.Sprintf("%v, closed %v", ctx.Err(), errors.Is(context.Cause(ctx), bus.ErrClosed)))
				return nil
			}))
			publish(t, topic, 1, 2)
		}
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		want := "context canceled, closed true"
		causes.require(t, "ends", want, want, want)
		for _, s := range subs {
			if st := stats(t, s); st.Handled != 1 || st.Abandoned != 1 || s.Err() != nil || !isDone(s) {
				t.Errorf("%v, %v", st, s.Err())
			}
		}
	})
}

// Inside a handler Close works, but waits for that handler in vain.
func TestCloseInsideHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Grace: time.Second})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		got := make(chan error, 1)
		s := subscribe(t, topic, "worker", func(context.Context, int) error {
			got <- b.Close()
			return nil
		})
		// Together, since the handler of the first closes the bus.
		if err := topic.PublishBatch(t.Context(), []int{1, 2}); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err == nil || !strings.Contains(err.Error(), "jobs/worker") {
			t.Errorf("%v", err)
		}
		<-s.Done()
		if st := stats(t, s); st.Handled != 1 || st.Abandoned != 1 {
			t.Errorf("%v", st)
		}
	})
}

type ctxKey struct{}

// Handlers see the values of Subscribe's context and not its end; all events of
// a lane have one context.
func TestHandlerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), ctxKey{}, "value"))
		seen := map[context.Context]int{}
		s, err := topic.Subscribe(ctx, "s", func(ctx context.Context, _ int) error {
			if ctx.Value(ctxKey{}) != "value" || ctx.Err() != nil {
				t.Errorf("value %v, err %v", ctx.Value(ctxKey{}), ctx.Err())
			}
			if _, ok := ctx.Deadline(); ok {
				t.Error("a deadline")
			}
			seen[ctx]++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		// The publisher's values don't travel.
		if err := topic.Publish(context.WithValue(t.Context(), ctxKey{}, "other"), 0); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, span(1, 99)...)
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if len(seen) != 1 {
			t.Errorf("%d contexts for one lane", len(seen))
		}
		for ctx := range seen {
			if !errors.Is(context.Cause(ctx), bus.ErrClosed) {
				t.Errorf("after the end: %v", context.Cause(ctx))
			}
		}
	})
}
