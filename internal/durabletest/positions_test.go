package durabletest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// publish publishes n events of one key, from number first on.
func publish(t *testing.T, topic *bus.Topic[order], first, n int, opts ...bus.PublishOption) {
	t.Helper()
	for i := range n {
		if err := topic.Publish(t.Context(), order{"c", first + i}, opts...); err != nil {
			t.Fatal(err)
		}
	}
}

// Lag tells of each consumer what it has yet to do, whether anybody is there or not.
func TestLag(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		began := time.Now()
		lag := func() bus.PartitionLag {
			t.Helper()
			lags, err := topic.Lag(t.Context())
			if err != nil || len(lags) != 1 {
				t.Fatalf("%+v, %v", lags, err)
			}
			return lags[0]
		}
		if lags, err := topic.Lag(t.Context()); err != nil || len(lags) != 0 {
			t.Errorf("without a consumer: %+v, %v", lags, err)
		}
		sub, err := topic.Subscribe(t.Context(), "billing", func(_ context.Context, o order) error {
			switch o.N {
			case 0:
				return errors.New("never")
			case 3:
				return bus.RetryAfter(time.Hour, errors.New("not yet"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 5)
		publish(t, topic, 9, 1, bus.After(24*time.Hour))
		settle()
		want := bus.PartitionLag{Consumer: "billing", Lag: 2, Deferred: 2, DeadLetters: 1, First: 1, Next: 6, Low: 6, Owner: b.ID()}
		same := func(got bus.PartitionLag) {
			t.Helper()
			if a, _ := json.Marshal(got); string(a) != text(t, want) {
				t.Errorf("the lag is %s, want %s", a, text(t, want))
			}
		}
		same(lag())
		if err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 5, 2)
		at := lag().Oldest
		if d := at.Sub(began).Truncate(100 * time.Millisecond); d != time.Second {
			t.Errorf("the oldest was taken after %v", d)
		}
		want.Lag, want.Next, want.Owner, want.Oldest = 4, 8, "", at
		same(lag())
		stop()
		b, stop = start(t, open())
		defer stop()
		topic = orders(t, b, 0)
		same(lag())
		const doc = `{"consumer":"c","partition":3,"lag":0,"deferred":0,"dead_letters":0,"first":0,"next":0,"low":0}`
		if got := text(t, bus.PartitionLag{Consumer: "c", Partition: 3}); got != doc {
			t.Errorf("as JSON it is %s", got)
		}
	})
}

func text(t *testing.T, v any) string {
	t.Helper()
	doc, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// A consumer that is moved while handlers run goes on at the new place; what those return does not count.
func TestSeek(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		publish(t, topic, 0, 5)
		got := make(recorder, 100)
		hold, sought := true, make(chan error, 1)
		sub, err := topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
			switch {
			case m.Value.N == 4 && hold:
				hold = false
				<-ctx.Done()
				sought <- context.Cause(ctx)
			case m.Value.N == 1 && len(got) < 3:
				return bus.RetryAfter(time.Hour, errors.New("not yet"))
			}
			return got.handle(ctx, m)
		}, bus.From(bus.Earliest()), bus.Lanes(1))
		if err != nil {
			t.Fatal(err)
		}
		settle()
		seek := func(to bus.Start) {
			t.Helper()
			if err := topic.Seek(t.Context(), "billing", to); err != nil {
				t.Fatal(err)
			}
			settle()
		}
		handled := func(want ...int) {
			t.Helper()
			for _, n := range want {
				select {
				case m := <-got:
					if m.Value.N != n {
						t.Errorf("event %d was handled, want %d", m.Value.N, n)
					}
				default:
					t.Errorf("event %d was not handled", n)
				}
			}
			if len(got) > 0 {
				t.Errorf("%d events more were handled", len(got))
			}
		}
		handled(0) // those behind 1 are of its key
		seek(bus.FromOffset(5))
		handled() // 4 is held
		seek(bus.FromOffset(3))
		handled(4, 2, 3, 4) // the first one was fenced
		if st := sub.Stats(); !st.Balanced() || st.Fenced != 1 || st.Returned != 4 {
			t.Error(st)
		}
		seek(bus.Latest())
		handled()
		publish(t, topic, 5, 1)
		settle()
		handled(5)
		// Nobody is there.
		if err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		seek(bus.FromOffset(5))
		got.subscribe(t, topic, "billing")
		settle()
		handled(4, 5)
		if err := topic.Seek(t.Context(), "nobody", bus.Latest()); !errors.Is(err, transport.ErrNoSuchConsumer) {
			t.Error(err)
		}
		if err := <-sought; !errors.Is(err, transport.ErrSought) {
			t.Errorf("the handler's context ended with %v", err)
		}
	})
}

// A consumer that is forgotten is new. It can't be while somebody consumes.
func TestForget(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		publish(t, topic, 0, 2)
		got := make(recorder, 10)
		sub := got.subscribe(t, topic, "billing")
		settle()
		if err := topic.Forget(t.Context(), "billing"); !errors.Is(err, transport.ErrInUse) {
			t.Errorf("a consumer that is in use: %v", err)
		}
		if err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := topic.Forget(t.Context(), "billing"); err != nil {
			t.Fatal(err)
		}
		if err := topic.Forget(t.Context(), "billing"); !errors.Is(err, transport.ErrNoSuchConsumer) {
			t.Errorf("a consumer that is forgotten: %v", err)
		}
		got.subscribe(t, topic, "billing")
		settle()
		if len(got) != 4 {
			t.Errorf("%d events were handled, want 2 twice", len(got))
		}
	})
}

// Close leaves the log as it is: the topic, made again, goes on. Delete removes it.
func TestCloseAndDelete(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		publish(t, topic, 0, 3)
		got := make(recorder, 100)
		got.subscribe(t, topic, "billing")
		settle()
		if err := topic.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := topic.Publish(t.Context(), order{}); !errors.Is(err, bus.ErrTopicClosed) {
			t.Errorf("Publish on a closed topic: %v", err)
		}
		if _, err := topic.Lag(t.Context()); !errors.Is(err, bus.ErrTopicClosed) {
			t.Errorf("Lag of a closed topic: %v", err)
		}
		topic = orders(t, b, 0)
		publish(t, topic, 3, 2)
		got.subscribe(t, topic, "billing")
		settle()
		for i := range 5 {
			if m := <-got; m.Value.N != i || m.Offset != uint64(i+1) {
				t.Errorf("event %d: %+v", i, m)
			}
		}
		publish(t, topic, 5, 1, bus.After(time.Minute))
		for range 2 {
			if err := topic.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := topic.Publish(t.Context(), order{}); !errors.Is(err, bus.ErrTopicClosed) {
			t.Errorf("Publish on a deleted topic: %v", err)
		}
		topic = orders(t, b, 4)
		var receipt bus.Receipt
		publish(t, topic, 6, 1, bus.ReceiptTo(&receipt))
		got.subscribe(t, topic, "billing")
		pass(time.Hour)
		settle()
		if lags, err := topic.Lag(t.Context()); receipt.Offset != 1 || len(got) != 1 || len(lags) != 4 || err != nil {
			t.Errorf("the new topic begins at offset %d and has %d events; %+v, %v", receipt.Offset, len(got), lags, err)
		}
	})
}

// A topic that another bus consumes is not deleted. One that it still has is not made anew by it.
func TestDeleteInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		b, stop := start(t, log)
		defer stop()
		other, stopOther := start(t, log.Connect())
		defer stopOther()
		topic, theirs := orders(t, b, 0), orders(t, other, 0)
		got := make(recorder, 10)
		publish(t, topic, 0, 1)
		sub := got.subscribe(t, theirs, "billing")
		settle()
		if err := topic.Delete(t.Context()); !errors.Is(err, transport.ErrInUse) {
			t.Fatal(err)
		}
		publish(t, theirs, 1, 1)
		settle()
		if err := sub.Drain(t.Context()); err != nil || len(got) != 2 {
			t.Errorf("%d events were handled, %v", len(got), err)
		}
		if err := topic.Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := theirs.Publish(t.Context(), order{}); !errors.Is(err, transport.ErrNoSuchTopic) {
			t.Error(err)
		}
	})
}

// What needs a log says so to a topic that has none.
func TestNeedsADurableTopic(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := bus.NewTopic(b, bus.TopicConfig[order]{Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	_, lagErr := topic.Lag(t.Context())
	_, replayErr := topic.Replay(t.Context(), "c", nil)
	_, purgeErr := topic.Purge(t.Context(), "c", nil)
	errs := []error{lagErr, replayErr, purgeErr, topic.Seek(t.Context(), "c", bus.Latest()), topic.Forget(t.Context(), "c"), topic.Delete(t.Context())}
	for _, err := range topic.DeadLetters(t.Context(), "c") {
		errs = append(errs, err)
	}
	for i, err := range errs {
		if !errors.Is(err, bus.ErrNotDurable) {
			t.Errorf("error %d is %v", i, err)
		}
	}
	if err := topic.Publish(t.Context(), order{}); err != nil || len(errs) != 7 {
		t.Errorf("%d errors; the topic is of no use any more: %v", len(errs), err)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
