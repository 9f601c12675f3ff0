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

// faulty is a memory transport that fails where a test wants it to, and counts.
type faulty struct {
	*memory.Transport
	serve     func(ctx context.Context, sink transport.Sink) error
	publish   func(ctx context.Context, envs []*transport.Envelope, results []transport.Result)
	subscribe func(ctx context.Context, topic transport.Topic) error

	serves atomic.Int32 // running
	starts atomic.Int32
	calls  list[string]
}

func newFaulty() *faulty {
	m := memory.NewBroker().Connect()
	return &faulty{Transport: m, serve: m.Serve, publish: m.Publish, subscribe: m.Subscribe}
}

func (f *faulty) Serve(ctx context.Context, sink transport.Sink) error {
	f.starts.Add(1)
	f.serves.Add(1)
	defer f.serves.Add(-1)
	return f.serve(ctx, sink)
}

func (f *faulty) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	f.publish(ctx, envs, results)
}

func (f *faulty) Subscribe(ctx context.Context, topic transport.Topic) error {
	f.calls.add("+" + topic.Name)
	return f.subscribe(ctx, topic)
}

func (f *faulty) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	f.calls.add("-" + topic.Name)
	return f.Transport.Unsubscribe(ctx, topic)
}

// The transport is told when the topic's last subscription leaves: by Drain and
// by its panics.
func TestUnsubscribesAtTheTransport(t *testing.T) {
	for _, end := range []string{"drain", "hasty drain", "panics"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty()
				b := newBus(t, bus.Config{Transport: f})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				make2 := func() (first, second *bus.Subscription) {
					h := func(context.Context, int) error {
						if end == "panics" {
							panic("always")
						}
						return nil
					}
					first = subscribe(t, topic, "first", h, bus.PanicBudget(0, time.Second))
					second = subscribe(t, topic, "second", ignore[int])
					return first, second
				}
				leave := func(s *bus.Subscription) {
					ctx, cancel := context.WithCancel(t.Context())
					if end == "hasty drain" {
						cancel()
					}
					if err := s.Drain(ctx); err != nil && end != "hasty drain" {
						t.Error(err)
					}
					cancel()
				}
				for round := range 3 {
					first, second := make2()
					before := len(f.calls.get())
					publish(t, topic, 1)
					leave(second)
					synctest.Wait()
					if end != "panics" {
						if n := len(f.calls.get()); n != before {
							t.Errorf("unsubscribed with a subscription left: %v", f.calls.get())
						}
						leave(first)
					}
					synctest.Wait()
					<-first.Done()
					calls := f.calls.get()
					if last := calls[len(calls)-1]; last != "-n" {
						t.Errorf("round %d: %v", round, calls)
					}
					var results [1]transport.Result
					f.Transport.Publish(t.Context(), []*transport.Envelope{{Topic: "n"}}, results[:])
					if results[0].Receivers != 0 {
						t.Errorf("round %d: still subscribed", round)
					}
				}
			})
		})
	}
}

// A transport whose Serve fails is run again; a Subscribe waits for that, and
// what was subscribed gets events again.
func TestFailingServeIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		f := newFaulty()
		inner := f.serve
		fail := make(chan struct{})
		f.serve = func(ctx context.Context, sink transport.Sink) error {
			if f.starts.Load() <= 3 {
				return errors.New("no connection")
			}
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				select {
				case <-fail:
					cancel()
				case <-ctx.Done():
				}
			}()
			if err := inner(ctx, sink); err != nil {
				return err
			}
			return errors.New("connection lost")
		}
		b := newBus(t, bus.Config{Transport: f, Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var got list[int]
		s, err := topic.Subscribe(ctx, "s", func(_ context.Context, n int) error { got.add(n); return nil })
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 1)
		fail <- struct{}{}
		time.Sleep(time.Hour)
		publish(t, topic, 2)
		shutdown(t, b)
		got.require(t, "events", 1, 2)
		if n := f.starts.Load(); n < 5 || n > 20 {
			t.Errorf("served %d times", n)
		}
		if n := f.serves.Load(); n != 0 {
			t.Errorf("%d Serves run on", n)
		}
		if logs.FilterMessage("transport").Len() == 0 {
			t.Error("nothing was logged")
		}
		stats(t, s)
	})
}

// What the transport says of a Subscribe comes back, and leaves nothing behind.
func TestSubscribeErrorOfTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		denied := errors.New("no permission")
		f := newFaulty()
		inner := f.subscribe
		f.subscribe = func(context.Context, transport.Topic) error { return denied }
		b := newBus(t, bus.Config{Transport: f})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s, err := topic.Subscribe(t.Context(), "s", ignore[int])
		requireError(t, err, denied, "subscribe", "n", "s")
		if s != nil {
			t.Error("a subscription and an error")
		}
		f.subscribe = func(ctx context.Context, _ transport.Topic) error { <-ctx.Done(); return context.Cause(ctx) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = topic.Subscribe(ctx, "s", ignore[int])
		requireError(t, err, context.DeadlineExceeded, "subscribe", "n", "s")
		if st := topic.Stats(); st.Subscriptions != 0 {
			t.Errorf("%+v", st)
		}
		f.subscribe = inner
		s = subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1)
		shutdown(t, b)
		if st := stats(t, s); st.Handled != 1 {
			t.Errorf("%v", st)
		}
	})
}

// A Subscribe that waits for a broker which never comes ends with the bus.
func TestCloseReleasesSubscribe(t *testing.T) {
	for _, end := range []string{"close", "shutdown"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFaulty()
				f.serve = func(context.Context, transport.Sink) error { return errors.New("no connection") }
				b := newBus(t, bus.Config{Transport: f})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := make(chan error, 1)
				go func() {
					_, err := topic.Subscribe(ctx, "s", ignore[int])
					got <- err
				}()
				time.Sleep(time.Second)
				if end == "close" {
					b.Close()
				} else {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					b.Shutdown(ctx)
				}
				select {
				case err := <-got:
					requireError(t, err, bus.ErrClosed, "subscribe", "n", "s")
				case <-time.After(time.Hour):
					t.Error("Subscribe waits for ever for a transport that will never run again")
				}
			})
		})
	}
}

func TestPublishErrorOfTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("connection lost")
		f := newFaulty()
		b := newBus(t, bus.Config{Transport: f})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		f.publish = func(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
			for i := range envs {
				if i%2 == 0 {
					results[i].Err = lost
				}
			}
		}
		requireError(t, topic.Publish(t.Context(), 1), lost, "publish", "n")
		err := topic.PublishBatch(t.Context(), []int{0, 1, 2})
		requireError(t, err, lost, "n", "2 of 3", "index 0")
		var be *bus.BatchError
		if errors.As(err, &be) && (len(be.Failed) != 2 || be.Failed[1].Index != 2) {
			t.Errorf("%+v", be)
		}
		f.publish = func(_ context.Context, _ []*transport.Envelope, results []transport.Result) {
			results[0].Err = fmt.Errorf("gone: %w", transport.ErrClosed)
		}
		err = topic.Publish(t.Context(), 1)
		requireError(t, err, bus.ErrClosed, "n")
		requireError(t, err, transport.ErrClosed)
		cause := errors.New("had enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		f.publish = f.Transport.Publish
		requireError(t, topic.Publish(ctx, 1), cause, "publish", "n")
	})
}

// Shutdown and Close end the transport, and name it when it does not end.
func TestEndOfTheTransport(t *testing.T) {
	for _, end := range []string{"close", "shutdown"} {
		for _, stubborn := range []bool{false, true} {
			t.Run(fmt.Sprint(end, " stubborn ", stubborn), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFaulty()
					inner := f.serve
					f.serve = func(ctx context.Context, sink transport.Sink) error {
						err := inner(ctx, sink)
						if stubborn {
							time.Sleep(24 * time.Hour)
						}
						return err
					}
					b, err := bus.New(bus.Config{Transport: f, Grace: time.Second})
					if err != nil {
						t.Fatal(err)
					}
					s := subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: "n"}), "s", ignore[int])
					began := time.Now()
					if end == "close" {
						err = b.Close()
					} else {
						ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
						defer cancel()
						err = b.Shutdown(ctx)
					}
					if d := time.Since(began); d > 3*time.Second {
						t.Errorf("after %v", d)
					}
					if !stubborn && (err != nil || f.serves.Load() != 0) {
						t.Errorf("%v, %d Serves run", err, f.serves.Load())
					}
					if stubborn && end == "close" && (err == nil || !strings.Contains(err.Error(), "transport")) {
						t.Errorf("%v", err)
					}
					<-s.Done()
					time.Sleep(48 * time.Hour)
				})
			})
		}
	}
}

// Shutdown ends although others on the broker go on publishing: intake from
// outside stops at the call.
func TestShutdownBesideBusyPublishers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, _ := buses(t, 2)
		cfg := bus.TopicConfig[int]{Name: "n"}
		s := subscribe(t, newTopic(t, bs[0], cfg), "s", func(context.Context, int) error { time.Sleep(2 * time.Millisecond); return nil })
		topic := newTopic(t, bs[1], cfg)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
					publish(t, topic, i)
				}
			}
		})
		time.Sleep(50 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := bs[0].Shutdown(ctx); err != nil {
			t.Errorf("%v", err)
		}
		close(stop)
		wg.Wait()
		stats(t, s)
	})
}

// A Transport serves one bus. A second bus on it must be told, not sit there
// and get nothing.
func TestTransportSharedByMistake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := memory.NewBroker().Connect()
		first := newBus(t, bus.Config{Transport: shared})
		subscribe(t, newTopic(t, first, bus.TopicConfig[int]{Name: "n"}), "s", ignore[int])
		second, err := bus.New(bus.Config{Transport: shared})
		if err != nil {
			return // told by New: fine
		}
		defer second.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		topic := newTopic(t, second, bus.TopicConfig[int]{Name: "n"})
		s, err := topic.Subscribe(ctx, "s", ignore[int])
		if err != nil {
			return // told by Subscribe: fine
		}
		publish(t, topic, 1)
		synctest.Wait()
		if st := stats(t, s); st.Handled != 1 {
			t.Errorf("New and Subscribe returned nil and no event comes: %v", st)
		}
	})
}
