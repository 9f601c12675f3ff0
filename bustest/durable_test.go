package bustest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

type shipment struct {
	Order string
	N     int
}

var shipments = bus.TopicConfig[shipment]{Name: "shipments", Class: bus.Durable, Key: func(s shipment) string { return s.Order }}

// inBothModes runs a test of durable topics with a transport and without.
func inBothModes(t *testing.T, f func(t *testing.T, opts ...bustest.Option)) {
	for name, opts := range map[string][]bustest.Option{"broker": nil, "in process": {bustest.InProcess()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, opts...) })
		})
	}
}

func durable(t *testing.T, b *bustest.Bus) *bus.Topic[shipment] {
	t.Helper()
	topic, err := bus.NewTopic(b.Bus, shipments)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// Events of a durable topic are recorded, waited for and counted as others are.
func TestDurable(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		sub, err := topic.Subscribe(t.Context(), "mailer", func(_ context.Context, s shipment) error {
			if s.N == 2 {
				return errors.New("no such address")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			if err := topic.Publish(t.Context(), shipment{"o", n}); err != nil {
				t.Fatal(err)
			}
		}
		bustest.WaitIdle(t, b)
		if got := len(bustest.Published(t, b, shipments)); got != 4 {
			t.Errorf("%d published", got)
		}
		if got := len(bustest.Handled(t, b, shipments, "mailer")); got != 3 {
			t.Errorf("%d handled", got)
		}
		l := bustest.RequireDeadLettered(t, b, shipments, "mailer")
		if l.Message.Value.N != 2 || l.Message.Offset != 3 {
			t.Errorf("the dead letter is %+v", l.Message)
		}
		if lag, done := bustest.Lag(t, b, "shipments", "mailer"), bustest.Committed(t, b, "shipments", "mailer"); lag != 0 || done != 4 || sub.Stats().Committed != 4 {
			t.Errorf("lag %d, committed %d, %v", lag, done, sub.Stats())
		}
	})
}

// After a crash what was not in the log yet comes again, on the bus that goes on with it.
func TestDurableCrash(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		if _, err := topic.Subscribe(t.Context(), "mailer", func(ctx context.Context, s shipment) error {
			if s.N == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if err := topic.Publish(t.Context(), shipment{"o", n}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // the first is in the log
		b.Crash()
		b2 := bustest.New(t, append(opts, bustest.RestartOf(b))...)
		var redelivered []bool
		if _, err := durable(t, b2).SubscribeMessage(t.Context(), "mailer", func(_ context.Context, m bus.Message[shipment]) error {
			redelivered = append(redelivered, m.Redelivered)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(t, b2)
		got := bustest.Handled(t, b2, shipments, "mailer")
		if len(got) != 2 || got[0].Value.N != 1 || !redelivered[0] {
			t.Errorf("handled %+v, redelivered %v", got, redelivered)
		}
		if lag := bustest.Lag(t, b2, "shipments", "mailer"); lag != 0 {
			t.Errorf("lag %d", lag)
		}
	})
}

// A handler whose lease is lost is canceled, its result does not count, and the event comes again.
func TestLoseLeases(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		var causes []error
		sub, err := topic.Subscribe(t.Context(), "mailer", func(ctx context.Context, _ shipment) error {
			if len(causes) == 0 {
				<-ctx.Done()
				causes = append(causes, context.Cause(ctx))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := topic.Publish(t.Context(), shipment{"o", 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		b.LoseLeases("shipments", "mailer")
		bustest.WaitIdle(t, b)
		if len(causes) != 1 || !errors.Is(causes[0], transport.ErrFenced) {
			t.Errorf("the handler ended with %v", causes)
		}
		if st := sub.Stats(); st.Fenced != 1 || st.Handled != 1 || st.Accepted != 2 {
			t.Errorf("%v", st)
		}
	})
}

// What the test does to appends, publishers see.
func TestAppendFaults(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		full := errors.New("no room")
		b.FailAppend("shipments", 1, full)
		if err := topic.Publish(t.Context(), shipment{"o", 1}); !errors.Is(err, full) || !errors.Is(err, transport.ErrLogFull) {
			t.Errorf("a refused append: %v", err)
		}
		b.LoseAppendReply("", 1)
		var r bus.Receipt
		if err := topic.Publish(t.Context(), shipment{"o", 2}, bus.ReceiptTo(&r)); err != nil || !r.Repeated || r.Offset != 1 {
			t.Errorf("a lost reply: %v, %+v", err, r)
		}
		b.DelayAppend("", 1, time.Minute)
		start := time.Now()
		if err := topic.Publish(t.Context(), shipment{"o", 3}); err != nil || time.Since(start) < time.Minute {
			t.Errorf("a slow append: %v after %v", err, time.Since(start))
		}
		b.DelayAppend("", 1, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := topic.Publish(ctx, shipment{"o", 4}); !errors.Is(err, transport.ErrUncertain) {
			t.Errorf("a caller that leaves during a slow append: %v", err)
		}
		time.Sleep(2 * time.Minute)
		if got := bustest.Published(t, b, shipments); len(got) != 3 || got[0].Value.N != 2 {
			t.Errorf("published %+v", got)
		}
	})
}

// Shutdown waits for a Publish whose event the log has not taken yet: its caller learns that it has.
func TestShutdownWaitsForAppends(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		b.DelayAppend("", 1, time.Minute)
		published := make(chan error, 1)
		go func() { published <- topic.Publish(t.Context(), shipment{"o", 1}) }()
		synctest.Wait()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-published; err != nil {
			t.Error(err)
		}
		if got := bustest.Published(t, b, shipments); len(got) != 1 {
			t.Errorf("published %+v", got)
		}
	})
}

// When a Shutdown has no time for it, its error says how many calls were left.
func TestShutdownNamesAppends(t *testing.T) {
	inBothModes(t, func(t *testing.T, opts ...bustest.Option) {
		b := bustest.New(t, opts...)
		topic := durable(t, b)
		b.DelayAppend("", 1, time.Hour)
		published := make(chan error, 1)
		go func() { published <- topic.Publish(t.Context(), shipment{"o", 1}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := b.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 calls of Publish had not returned: shipments 1") {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-published; !errors.Is(err, bus.ErrClosed) || errors.Is(err, transport.ErrUncertain) || len(bustest.Published(t, b, shipments)) > 0 {
			t.Errorf("Publish: %v", err) // the log was not asked yet
		}
	})
}
