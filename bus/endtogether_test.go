package bus_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// OnGap is waited for by Drain of its subscription and by Shutdown, so inside it they say so at
// once. What does not wait for it works.
func TestEndInsideOnGap(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(b *bus.Bus, s, other *bus.Subscription) error
		want error
	}{
		{"Shutdown", func(b *bus.Bus, _, _ *bus.Subscription) error { return b.Shutdown(context.Background()) }, bus.ErrWouldDeadlock},
		{"Drain", func(_ *bus.Bus, s, _ *bus.Subscription) error { return s.Drain(context.Background()) }, bus.ErrWouldDeadlock},
		{"Drain of another", func(_ *bus.Bus, _, other *bus.Subscription) error { return other.Drain(context.Background()) }, nil},
		{"Drain on another goroutine", func(_ *bus.Bus, s, _ *bus.Subscription) error {
			go func() { _ = s.Drain(context.Background()) }()
			return nil
		}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s, other *bus.Subscription
				var b *bus.Bus
				done := make(chan error, 2)
				var g *gapper
				g, b, s = gapBus(t, bus.Config{}, func(bus.Gap) { done <- tc.end(b, s, other) })
				other = subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: "n"}), "other", ignore[int])
				began := time.Now()
				g.report(3, 5)
				err := <-done
				if d := time.Since(began); !errors.Is(err, tc.want) || d > 0 {
					t.Errorf("%v after %v, want %v at once", err, d, tc.want)
				}
				if tc.want != nil {
					requireError(t, err, tc.want, "OnGap can't wait")
				}
				shutdown(t, b)
			})
		})
	}
}

// Of two that end the bus, the one with more patience learns too what the other left behind.
func TestShutdownTogetherWithAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{Transport: newLagging(time.Hour)})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1, 2, 3)
		patient := make(chan error, 1)
		go func() { patient <- within(b, 24*time.Hour) }()
		synctest.Wait()
		requireError(t, within(b, time.Second), context.DeadlineExceeded, "3 published events had not come back", "n 3")
		requireError(t, <-patient, bus.ErrClosed, "ended meanwhile", "3 published events had not come back", "n 3")
	})
}

// A Publish that Shutdown waited for in vain is in its error.
func TestShutdownNamesAPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newLagging(0)
		tr.reply = time.Minute
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", ignore[int])
		go func() { _ = topic.Publish(context.Background(), 3) }()
		synctest.Wait()
		requireError(t, within(b, time.Second), context.DeadlineExceeded, "1 calls of Publish had not returned: n 1")
		time.Sleep(time.Hour)
	})
}

// badEnd is a transport that ends with an error whose methods panic.
type badEnd struct{ *lagging }

func (b badEnd) Serve(ctx context.Context, sink transport.Sink) error {
	var e *net.OpError
	return errors.Join(e, b.lagging.Serve(ctx, sink))
}

func TestTransportEndsWithAnErrorWhoseMethodsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := badEnd{newLagging(time.Minute)}
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1, 2)
		close(tr.closed)
		synctest.Wait()
		requireError(t, within(b, time.Hour), bus.ErrClosed, "the transport was closed", "2 published events")
	})
}

// badClaim is a transport that refuses a bus with such an error.
type badClaim struct{ *memory.Transport }

func (badClaim) Claim() error {
	var e *net.OpError
	return e
}

// What New, Start and Subscribe return can be asked anything, whatever the transport returned.
func TestTransportRefusesWithAnErrorWhoseMethodsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := func(what string, err error) {
			t.Helper()
			var dns *net.DNSError
			if !errors.Is(err, bus.ErrInvalidError) || errors.Is(err, net.ErrClosed) || errors.As(err, &dns) || err.Error() == "" {
				t.Errorf("%s: %v", what, err)
			}
		}
		_, err := bus.New(bus.Config{Transport: badClaim{memory.NewBroker().Connect()}})
		ask("New", err)

		f := newFaulty()
		inner := f.subscribe
		f.subscribe = func(context.Context, transport.Topic) error {
			var e *net.OpError
			return e
		}
		b := newBus(t, bus.Config{Transport: f, Hold: true})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "held", ignore[int])
		ask("Start", b.Start(t.Context()))
		f.subscribe = inner
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.subscribe = func(context.Context, transport.Topic) error {
			var e *net.OpError
			return fmt.Errorf("at the broker: %w", e)
		}
		_, err = newTopic(t, b, bus.TopicConfig[int]{Name: "other"}).Subscribe(t.Context(), "s", ignore[int])
		ask("Subscribe", err)
	})
}

// Who subscribes again the moment a name is free is not told stopped for the one before.
func TestHealthOfANameTakenAtOnce(t *testing.T) {
	for range 300 {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		first := subscribe(t, topic, "s", func(context.Context, int) error { panic("boom") }, bus.PanicBudget(0, time.Minute))
		publish(t, topic, 1)
		for {
			_, err := topic.Subscribe(t.Context(), "s", ignore[int])
			if err == nil {
				break
			}
			if !errors.Is(err, bus.ErrDuplicateSubscription) {
				t.Fatal(err)
			}
		}
		<-first.Done()
		if h := b.Health(); len(h.Stopped) > 0 {
			t.Fatalf("%v", h.Stopped)
		}
		shutdown(t, b)
	}
}
