package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// lagging is a transport whose events arrive a while after Publish returned, as over a network.
type lagging struct {
	*memory.Transport
	lag    time.Duration
	reply  time.Duration                      // how long after it was accepted Publish returns
	gap    func(env *transport.Envelope) bool // reported missing in place of delivered
	closed chan struct{}
}

// Serve hands on in order what the broker delivers, each when its time has come.
func (l *lagging) Serve(ctx context.Context, sink transport.Sink) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	queue := &lagQueue{changed: make(chan struct{}, 1)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			env, due, ok := queue.first()
			if !ok {
				select {
				case <-queue.changed:
					continue
				case <-inner.Done():
					return
				}
			}
			select {
			case <-time.After(time.Until(due)):
			case <-inner.Done():
				return
			}
			if l.gap != nil && l.gap(env) {
				sink.Gap(transport.Gap{
					Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher, From: env.Seq, To: env.Seq, Count: 1, Since: due,
				})
			} else {
				sink.Deliver(env)
			}
		}
	})
	defer running.Wait()
	running.Go(func() {
		select {
		case <-l.closed:
			cancel()
		case <-inner.Done():
		}
	})
	queue.lag = l.lag
	err := l.Transport.Serve(inner, queue)
	cancel()
	if ctx.Err() == nil {
		return errors.Join(transport.ErrClosed, err)
	}
	return err
}

func (l *lagging) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	l.Transport.Publish(ctx, envs, results)
	time.Sleep(l.reply)
}

type lagQueue struct {
	lag     time.Duration
	changed chan struct{} // capacity 1
	mu      sync.Mutex
	envs    []*transport.Envelope
	due     []time.Time
}

func (q *lagQueue) Deliver(env *transport.Envelope) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.envs, q.due = append(q.envs, env), append(q.due, time.Now().Add(q.lag))
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *lagQueue) Gap(transport.Gap) {}

func (q *lagQueue) first() (env *transport.Envelope, due time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.envs) == 0 {
		return nil, time.Time{}, false
	}
	env, due = q.envs[0], q.due[0]
	q.envs, q.due = q.envs[1:], q.due[1:]
	return env, due, true
}

func newLagging(lag time.Duration) *lagging {
	return &lagging{Transport: memory.NewBroker().Connect(), lag: lag, closed: make(chan struct{})}
}

// within ends the bus with a context of d.
func within(b *bus.Bus, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return b.Shutdown(ctx)
}

// "Shutdown waits for what its own publishers were told is accepted and its own subscriptions have
// not got yet."
func TestShutdownAwaitsOwnEvents(t *testing.T) {
	for _, partitions := range []int{0, 5} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{Transport: newLagging(time.Second)})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: partitions})
				publish(t, topic, 1, 2, 3) // before there is a subscription: nobody gets them
				one, two := subscribe(t, topic, "one", ignore[int]), subscribe(t, topic, "two", ignore[int], bus.Lanes(3))
				publish(t, topic, 4, 5)
				if err := topic.PublishBatch(t.Context(), []int{6, 7, 8}); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				shutdown(t, b)
				if d := time.Since(began); d != time.Second {
					t.Errorf("Shutdown took %v", d)
				}
				for _, s := range []*bus.Subscription{one, two} {
					if st := stats(t, s); st.Handled != 5 || len(s.Gaps()) != 0 {
						t.Errorf("%v, %v", st, s.Gaps())
					}
				}
			})
		})
	}
}

// What handlers publish while the bus shuts down is waited for too, and what a Publish is told while
// Shutdown waits.
func TestShutdownAwaitsWhatIsPublishedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newLagging(time.Second)
		tr.reply = time.Minute
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(ctx context.Context, n int) error {
			if n == 0 {
				return nil
			}
			return topic.Publish(ctx, n-1)
		})
		told := make(chan error, 1)
		go func() { told <- topic.Publish(context.Background(), 3) }()
		synctest.Wait()
		shutdown(t, b)
		if err := <-told; err != nil {
			t.Error(err)
		}
		if st := stats(t, s); st.Handled != 4 {
			t.Errorf("%v", st)
		}
	})
}

// What Shutdown can't wait for is in its error and a Gap, once, whatever the transport says later;
// a Close leaves a Gap too.
func TestOwnEventsLeftBehind(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, b *bus.Bus)
	}{
		{"Shutdown", func(t *testing.T, b *bus.Bus) {
			requireError(t, within(b, time.Second), context.DeadlineExceeded, "shutdown", "3 published events", "n 3")
		}},
		{"Close", func(t *testing.T, b *bus.Bus) {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := newLagging(time.Minute)
				tr.gap = func(*transport.Envelope) bool { return true }
				b := newBus(t, bus.Config{Transport: tr})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				publish(t, topic, 0)
				var told list[bus.Gap]
				s := subscribe(t, topic, "s", ignore[int], bus.OnGap(told.add))
				publish(t, topic, 1, 2, 3)
				tc.end(t, b)
				time.Sleep(time.Hour)
				gaps := told.get()
				if len(gaps) != 1 || gaps[0].From != 2 || gaps[0].To != 4 || gaps[0].Count != 3 || gaps[0].Publisher != b.ID() ||
					gaps[0].Kind != transport.Lost || gaps[0].Reason != transport.Ended || gaps[0].Topic != "n" {
					t.Errorf("%+v", gaps)
				}
				if st := stats(t, s); st.Lost != 3 || st.Accepted != 0 {
					t.Errorf("%v", st)
				}
				shutdown(t, b) // again: it has ended
			})
		})
	}
}

// What a Publish is told as the bus ends is in a Gap as well.
func TestPublishReturnsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newLagging(time.Hour)
		tr.reply = time.Minute
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", ignore[int])
		told := make(chan error, 1)
		go func() { told <- topic.Publish(context.Background(), 3) }()
		synctest.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := <-told; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := stats(t, s); st.Lost != 1 {
			t.Errorf("%v, %v", st, s.Gaps())
		}
	})
}

// A gap that the transport tells ends the wait like the event.
func TestShutdownTakesAGapForAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newLagging(time.Second)
		tr.gap = func(env *transport.Envelope) bool { return env.Seq == 2 }
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1, 2)
		shutdown(t, b)
		if st := stats(t, s); st.Handled != 1 || st.Lost != 1 {
			t.Errorf("%v", st)
		}
	})
}

// Drain waits for what was accepted before it was called, and no longer: others go on.
func TestDrainAwaitsOwnEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Transport: newLagging(time.Minute)})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: 3})
		patient, hasty, other := subscribe(t, topic, "patient", ignore[int]), subscribe(t, topic, "hasty", ignore[int]), subscribe(t, topic, "other", ignore[int])
		publish(t, topic, 1, 2, 3, 4)
		drained := make(chan error, 1)
		go func() { drained <- patient.Drain(context.Background()) }()
		synctest.Wait()
		time.Sleep(time.Second)
		publish(t, topic, 5, 6, 7)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireError(t, hasty.Drain(ctx), context.DeadlineExceeded, "drain", "hasty", "7 published events")
		if st := stats(t, hasty); st.Lost != 7 || st.Accepted != 0 {
			t.Errorf("%v, %v", st, hasty.Gaps())
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if st := stats(t, patient); st.Handled != 4 || st.Lost != 0 {
			t.Errorf("%v, %v", st, patient.Gaps())
		}
		shutdown(t, b)
		if st := stats(t, other); st.Handled != 7 || st.Lost != 0 {
			t.Errorf("%v, %v", st, other.Gaps())
		}
	})
}

// The last subscription of a topic drains; a later one has nothing to do with what came before it.
func TestSubscribeAgainAwaitsNothingOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Transport: newLagging(time.Minute)})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		first := subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1, 2)
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("at once"))
		if err := first.Drain(ended); err == nil || first.Stats().Lost != 2 {
			t.Errorf("%v, %v", err, first.Gaps())
		}
		second := subscribe(t, topic, "s", ignore[int])
		began := time.Now()
		shutdown(t, b)
		if d := time.Since(began); d != 0 {
			t.Errorf("Shutdown waited %v for what nobody is owed", d)
		}
		if st := stats(t, second); st.Lost != 0 {
			t.Errorf("%v", second.Gaps())
		}
	})
}

// A transport that was closed brings nothing back: Shutdown says so, and does not wait for it.
func TestShutdownAfterTheTransportsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newLagging(time.Minute)
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1, 2)
		close(tr.closed)
		synctest.Wait()
		began := time.Now()
		requireError(t, within(b, time.Hour), bus.ErrClosed, "the transport was closed", "2 published events")
		if d := time.Since(began); d >= time.Hour {
			t.Errorf("it waited %v", d)
		}
		if st := stats(t, s); st.Lost != 2 {
			t.Errorf("%v", st)
		}
	})
}

// Publishers, a subscription that comes and goes, and an end at random: each event that a Publish
// was told is accepted, with the subscription live, is handled or in a Gap.
func TestOwnEventsUnderChaos(t *testing.T) {
	for round := range 40 {
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{Transport: newLagging(time.Duration(round) * time.Millisecond)})
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: round % 4})
			var handled list[int]
			s := subscribe(t, topic, "s", func(_ context.Context, n int) error { handled.add(n); return nil })
			var accepted list[int]
			var publishing sync.WaitGroup
			for p := range 4 {
				publishing.Go(func() {
					for i := range 20 {
						if n := p*100 + i; topic.Publish(context.Background(), n) == nil {
							accepted.add(n)
						}
						time.Sleep(time.Millisecond)
					}
				})
			}
			time.Sleep(time.Duration(round%20) * time.Millisecond)
			var err error
			if round%2 == 0 {
				err = within(b, time.Duration(round)*700*time.Microsecond)
			} else {
				err = s.Drain(context.Background())
				err = errors.Join(err, b.Close())
			}
			publishing.Wait()
			synctest.Wait()
			got := handled.get()
			slices.Sort(got)
			if round%2 == 0 {
				if n := uint64(len(got)) + s.Stats().Lost + s.Stats().Abandoned; n != uint64(len(accepted.get())) {
					t.Errorf("round %d: %d of %d accepted (%v): %v, gaps %v", round, n, len(accepted.get()), err, s.Stats(), s.Gaps())
				}
			}
			if len(slices.Compact(got)) != len(got) {
				t.Errorf("round %d: one twice", round)
			}
		})
	}
}
