package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// hung is what every kind of subscription does with its first event: it hangs, whatever
// its context says, until release is closed.
type hung struct{ release chan struct{} }

func (h hung) handle(e event) error {
	switch e.N {
	case 1:
		<-h.release
		return errors.New("too late")
	case 2:
		return bus.RetryAfter(time.Hour, errAgain) // where it is not behind the first
	}
	return nil
}

// hungKinds subscribe a handler that hangs at the first event of key "a".
var hungKinds = map[string]func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription{
	"one lane": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h.handle(e) })
	},
	"drop oldest": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h.handle(e) }, bus.Mailbox(9, bus.DropOldest))
	},
	"keep latest": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h.handle(e) }, bus.Mailbox(9, bus.KeepLatest))
	},
	"group": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h.handle(e) }, bus.Group("g"))
	},
	"middleware": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h.handle(e) }, bus.Use(passThrough))
	},
	"batches": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		s, err := topic.SubscribeBatch(t.Context(), "s", func(_ context.Context, batch []bus.Message[event]) error {
			return h.handle(batch[0].Value)
		}, bus.BatchSize(1))
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"actors": func(t *testing.T, topic *bus.Topic[event], h hung) *bus.Subscription {
		s, err := topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[event], error) {
			return bus.Actor[event]{Handle: func(_ context.Context, e event) error { return h.handle(e) }}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
}

// What waits behind a handler that hangs, or for another attempt, is abandoned when the
// context of Shutdown or Drain ends, or at Close, and not when the handler returns; that
// one is running until then. The ledger and the error say the same.
func TestAbandonedAtOnce(t *testing.T) {
	ends := map[string]func(b *bus.Bus, s *bus.Subscription, ctx context.Context) error{
		"shutdown": func(b *bus.Bus, _ *bus.Subscription, ctx context.Context) error { return b.Shutdown(ctx) },
		"drain":    func(_ *bus.Bus, s *bus.Subscription, ctx context.Context) error { return s.Drain(ctx) },
		"close":    func(b *bus.Bus, _ *bus.Subscription, _ context.Context) error { return b.Close() },
	}
	for kind, subscribe := range hungKinds {
		for how, end := range ends {
			for _, broker := range []bool{false, true} {
				for _, deferred := range []bool{false, true} {
					if broker && kind == "group" {
						continue
					}
					t.Run(fmt.Sprintf("%s, %s, broker %v, deferred %v", kind, how, broker, deferred), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							cfg := bus.Config{Grace: time.Second}
							if broker {
								cfg.Transport = memory.NewBroker().Connect()
							}
							b, err := bus.New(cfg)
							if err != nil {
								t.Fatal(err)
							}
							topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
							h := hung{make(chan struct{})}
							s := subscribe(t, topic, h)
							if deferred { // one waits for another attempt, one behind it, and then one hangs
								for _, e := range []event{{"p", 2}, {"p", 3}, {"a", 1}} {
									publish(t, topic, e)
									synctest.Wait()
								}
							} else {
								publish(t, topic, event{"a", 1})
								synctest.Wait()
								publish(t, topic, event{"b", 3})
							}
							publish(t, topic, event{"a", 4}, event{"c", 5})
							waiting := uint64(3)
							if deferred {
								waiting = 4
							}
							synctest.Wait()
							if st := stats(t, s); st.Running != 1 || st.Pending() != waiting+1 {
								t.Fatalf("%v", st)
							}

							ctx, cancel := context.WithTimeout(t.Context(), time.Second)
							defer cancel()
							ended := make(chan error, 1)
							go func() { ended <- end(b, s, ctx) }()
							if how == "close" {
								synctest.Wait() // it waits for the handler, and has abandoned the others
							} else {
								err = <-ended
							}
							if st := stats(t, s); st.Abandoned != waiting || st.Running != 1 || st.Pending() != 1 {
								t.Errorf("after the end: %v", st)
							}
							if how == "close" {
								err = <-ended
							}
							text := ""
							if err != nil {
								text = err.Error()
							}
							switch how {
							case "shutdown":
								text = strings.Replace(text, fmt.Sprintf("abandoned %d events, 1 still running: n/s %d (1 running)", waiting, waiting), "OK", 1)
							case "drain":
								text = strings.Replace(text, fmt.Sprintf("%d events abandoned, 1 still running", waiting), "OK", 1)
							case "close":
								text = strings.Replace(text, "handlers still run: n/s (1)", "OK", 1)
							}
							if !strings.Contains(text, "OK") {
								t.Errorf("%v", err)
							}
							select {
							case <-s.Done():
								t.Error("done, with a handler that runs")
							default:
							}
							close(h.release)
							<-s.Done()
							if st := stats(t, s); st.Abandoned != waiting+1 || st.Pending() != 0 {
								t.Errorf("after the handler returned: %v", st)
							}
							if err := b.Close(); err != nil {
								t.Error(err)
							}
						})
					})
				}
			}
		}
	}
}

// A batch that runs stays running, whole, and what waits is abandoned; the members of a
// group don't wait for what was abandoned.
func TestAbandonedBehindABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Grace: time.Second})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		release := make(chan struct{})
		s, err := topic.SubscribeBatch(t.Context(), "s", func(_ context.Context, batch []bus.Message[event]) error {
			<-release
			return nil
		}, bus.BatchSize(3), bus.Group("g"))
		if err != nil {
			t.Fatal(err)
		}
		s.Pause()
		for i := range 10 {
			publish(t, topic, event{fmt.Sprint("k", i), i})
		}
		s.Resume()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireError(t, s.Drain(ctx), context.DeadlineExceeded, "7 events abandoned, 3 still running")
		if st := stats(t, s); st.Abandoned != 7 || st.Running != 3 || st.Pending() != 3 {
			t.Errorf("%v", st)
		}
		close(release)
		<-s.Done()
		if st := stats(t, s); st.Abandoned != 7 || st.Handled != 3 {
			t.Errorf("%v", st)
		}
	})
}

// Payloads of other programs that wait for their key to be found are in the ledger of each
// subscription when the bus ends with them.
func TestForeignPayloadsAreAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		b := newBus(t, bus.Config{Transport: broker.Connect(), Grace: time.Second})
		hang := make(chan struct{})
		var asked atomic.Int32
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: func(e event) string {
			if asked.Add(1) == 2 {
				<-hang
			}
			return e.Key
		}})
		s := subscribe(t, topic, "s", func(context.Context, event) error { return nil }, bus.Lanes(2))
		for range 4 {
			foreignClient(t, broker, &transport.Envelope{Topic: "n", Payload: []byte(`{"Key":"k","N":1}`)})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireError(t, b.Shutdown(ctx), context.DeadlineExceeded, "abandoned 3 events")
		if st := stats(t, s); st.Accepted != 4 || st.Handled != 1 || st.Abandoned != 3 || st.Pending() != 0 {
			t.Errorf("%v", st)
		}
		close(hang)
		synctest.Wait()
		if st := stats(t, s); st.Accepted != 4 || st.Handled != 1 || st.Abandoned != 3 || topic.Stats().Published != 4 {
			t.Errorf("%v", st)
		}
	})
}

// However the end and the handlers meet, nothing is in two places, and an event that the
// error called abandoned is not handled any more.
func TestAbandonRace(t *testing.T) {
	for round := range 200 {
		b, err := bus.New(bus.Config{})
		if err != nil {
			t.Fatal(err)
		}
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var handled, published atomic.Uint64
		policy := []bus.Policy{bus.Block, bus.DropOldest}[round%2]
		s := subscribe(t, topic, "s", func(context.Context, int) error { handled.Add(1); return nil }, bus.Mailbox(64, policy))
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for topic.Publish(context.Background(), 1) == nil {
					published.Add(1)
				}
			})
		}
		for handled.Load() < uint64(round) {
			time.Sleep(10 * time.Microsecond)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		before := s.Stats()
		err = b.Shutdown(ctx)
		at := s.Stats()
		wg.Wait()
		<-s.Done()
		st := stats(t, s)
		abandoned, running, _ := leftIn(err) // none of a Shutdown that came in time
		if st.Handled != handled.Load() || st.Accepted != published.Load() || at.Queued > 0 ||
			at.Abandoned < abandoned || st.Abandoned > abandoned+running || !before.Balanced() || !at.Balanced() {
			t.Fatalf("%v\n%v\n%v\nhandled %d, published %d", err, at, st, handled.Load(), published.Load())
		}
	}
}
