package durabletest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

type parcel struct {
	Customer string
	N        int
}

func parcels(t *testing.T, b *bus.Bus, use ...bus.PublishMiddleware) *bus.Topic[parcel] {
	t.Helper()
	topic, err := bus.NewTopic(b, bus.TopicConfig[parcel]{
		Name: "parcels", Class: bus.Durable, Partitions: 2, Key: func(p parcel) string { return p.Customer }, UsePublish: use,
	})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// collect has the parcels that a consumer gets kept, from the first on.
func collect(t *testing.T, topic *bus.Topic[parcel]) chan bus.Message[parcel] {
	t.Helper()
	got := make(chan bus.Message[parcel], 1000)
	_, err := topic.SubscribeMessage(t.Context(), "shipping", func(_ context.Context, m bus.Message[parcel]) error {
		got <- m
		return nil
	}, bus.From(bus.Earliest()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What is published within a message is in the log when the message is acknowledged, and only then:
// failed attempts leave nothing, and each attempt stages anew.
func TestWithin(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 0)
		chained := 0
		ship := parcels(t, b, func(next bus.PublishHandler) bus.PublishHandler {
			return func(ctx context.Context, p *bus.Publication) error {
				chained++
				p.SetHeader(0, "chain", "yes")
				return next(ctx, p)
			}
		})
		got := collect(t, ship)
		kept := make(map[int]bus.Message[order]) // of first attempts
		_, err := topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
			p := parcel{m.Value.Customer, m.Value.N*100 + m.Attempt}
			if old, again := kept[m.Value.N]; again {
				if err := ship.Publish(ctx, p, bus.Within(old)); !errors.Is(err, bus.ErrSettled) {
					t.Errorf("within the attempt before: %v", err)
				}
			}
			kept[m.Value.N] = m
			if err := ship.Publish(ctx, p, bus.Within(m), bus.ID(fmt.Sprint("id-", p.N))); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			switch {
			case m.Value.N == 1 && m.Attempt < 3:
				return bus.RetryAfter(time.Minute, errors.New("not yet"))
			case m.Value.N == 2:
				panic("never")
			case m.Value.N == 3:
				return bus.Discard(errors.New("no"))
			case m.Value.N == 4:
				return errors.New("never")
			}
			return nil
		}, bus.OnDeadLetter(func(ctx context.Context, l bus.Letter) {
			m, err := bus.MessageOf[order](l.Delivery)
			if err != nil {
				t.Error(err)
			}
			if err := ship.Publish(ctx, parcel{}, bus.Within(m)); !errors.Is(err, bus.ErrSettled) {
				t.Errorf("within a dead letter: %v", err)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
				t.Fatal(err)
			}
		}
		pass(time.Hour)
		for range 3 {
			m := <-got
			if want := map[int]int{0: 1, 1: 3, 5: 1}[m.Value.N/100]; m.Value.N%100 != want || m.ID.String() != fmt.Sprint("id-", m.Value.N) || m.Headers.Get("chain") != "yes" || m.Offset == 0 {
				t.Errorf("%+v", m)
			}
		}
		if len(got) > 0 || len(kept) != 6 || chained != 6+2+2+2 {
			t.Errorf("%d more events; %d messages; the chain was called %d times", len(got), len(kept), chained)
		}
		if err := ship.Publish(t.Context(), parcel{}, bus.Within(kept[0])); !errors.Is(err, bus.ErrSettled) {
			t.Errorf("after the handler: %v", err)
		}
	})
}

// What can be published can be published within: batches, messages with times of their own, into the same
// topic, from goroutines of the handler.
func TestWithinOfAllKinds(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic, ship := orders(t, b, 0), parcels(t, b)
		got, began := collect(t, ship), time.Now()
		seen := make(recorder, 100)
		_, err := topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
			if m.Value.N > 0 {
				return seen.handle(ctx, m)
			}
			var publishing sync.WaitGroup
			for i := range 20 {
				publishing.Go(func() {
					if err := ship.Publish(ctx, parcel{fmt.Sprint(i), i}, bus.Within(m)); err != nil {
						t.Error(err)
					}
				})
			}
			publishing.Wait()
			err := ship.PublishBatch(ctx, []parcel{{"a", 20}, {"b", 21}, {"c", 22}}, bus.Within(m), bus.After(time.Minute))
			if err != nil {
				return err
			}
			err = ship.PublishMessages(ctx, []bus.Outgoing[parcel]{{Value: parcel{"a", 23}, At: began.Add(time.Hour)}, {Value: parcel{"b", 24}}}, bus.Within(m))
			if err != nil {
				return err
			}
			return topic.PublishBatch(ctx, []order{{"c", 1}, {"c", 2}}, bus.Within(m))
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 1)
		settle()
		for i := range 2 {
			if m := <-seen; m.Value.N != i+1 || m.Offset != uint64(i+2) {
				t.Errorf("%+v", m)
			}
		}
		for _, want := range []struct {
			d time.Duration
			n int
		}{{0, 21}, {time.Minute, 24}, {time.Hour, 25}} {
			pass(time.Until(began.Add(want.d + 2*time.Second)))
			if len(got) != want.n {
				t.Errorf("after %v there are %d events, want %d", want.d, len(got), want.n)
			}
		}
		numbers := make(map[int]bool)
		for len(got) > 0 {
			numbers[(<-got).Value.N] = true
		}
		if len(numbers) != 25 {
			t.Errorf("%d different events", len(numbers))
		}
	})
}

// Each message of a batch takes along what was published within it.
func TestWithinBatch(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic, ship := orders(t, b, 0), parcels(t, b)
		got := collect(t, ship)
		var events []order
		for i := range 10 {
			events = append(events, order{fmt.Sprint(i), i})
		}
		if err := topic.PublishBatch(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		_, err := topic.SubscribeBatch(t.Context(), "billing", func(ctx context.Context, msgs []bus.Message[order]) error {
			failed := &bus.BatchError{}
			for i, m := range msgs {
				if err := ship.Publish(ctx, parcel{m.Key, m.Value.N}, bus.Within(m)); err != nil {
					t.Error(err)
				}
				switch {
				case m.Value.N == 3:
					failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: errors.New("never")})
				case m.Value.N == 5 && m.Attempt == 1:
					failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: bus.RetryAfter(time.Second, errors.New("not yet"))})
				}
			}
			if len(failed.Failed) > 0 {
				return failed
			}
			return nil
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		numbers := make(map[int]int)
		for len(got) > 0 {
			numbers[(<-got).Value.N]++
		}
		for i := range 10 {
			if want := map[bool]int{true: 0, false: 1}[i == 3]; numbers[i] != want {
				t.Errorf("event %d was published %d times", i, numbers[i])
			}
		}
	})
}

// What can't be one step is refused at once.
func TestWithinRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		b, stop := start(t, log)
		defer stop()
		other, stopOther := start(t, log.Connect())
		defer stopOther()
		topic, ship, theirs := orders(t, b, 0), parcels(t, b), parcels(t, other)
		plain, err := bus.NewTopic(b, bus.TopicConfig[parcel]{Name: "plain"})
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		_, err = topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
			var receipt bus.Receipt
			within := bus.Within(m)
			for what, c := range map[string]struct {
				err  error
				want error
			}{
				"receipt":       {ship.Publish(ctx, parcel{}, within, bus.ReceiptTo(&receipt)), bus.ErrInvalidConfig},
				"other bus":     {theirs.Publish(ctx, parcel{}, within), bus.ErrNotAtomic},
				"ephemeral":     {plain.Publish(ctx, parcel{}, within), bus.ErrNotAtomic},
				"no such event": {ship.Publish(ctx, parcel{}, bus.Within(bus.Message[order]{})), bus.ErrNotAtomic},
				"batch":         {theirs.PublishBatch(ctx, []parcel{{}, {}}, within), bus.ErrNotAtomic},
			} {
				if !errors.Is(c.err, c.want) {
					t.Errorf("%s: %v", what, c.err)
				}
			}
			done++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 1)
		settle()
		if lags, err := ship.Lag(t.Context()); done != 1 || len(lags) != 0 || err != nil {
			t.Errorf("%d calls, %v, %v", done, lags, err)
		}
		if got := collect(t, ship); len(got) > 0 {
			t.Errorf("%+v was published", <-got)
		}
	})
}

// A process that dies between the handler's return and the commit leaves neither the events nor the
// acknowledgement; the next one handles the message again, and both are there, once.
func TestWithinCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := memory.NewLog()
		for i, wait := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 9 * time.Millisecond, 20 * time.Millisecond} {
			log := first.Connect()
			b, err := bus.New(bus.Config{Log: log})
			if err != nil {
				t.Fatal(err)
			}
			topic, ship := orders(t, b, 0), parcels(t, b)
			handled := 0
			hold := make(chan struct{})
			handle := func(ctx context.Context, m bus.Message[order]) error {
				if handled++; m.Value.N%2 == 1 {
					select { // keeps the commit waiting for more
					case <-hold:
					case <-ctx.Done():
					}
				}
				return ship.Publish(ctx, parcel{"c", m.Value.N}, bus.Within(m))
			}
			if _, err := topic.SubscribeMessage(t.Context(), "billing", handle, bus.Lanes(1)); err != nil {
				t.Fatal(err)
			}
			publish(t, topic, 2*i, 2)
			time.Sleep(wait)
			synctest.Wait()
			if err := log.Close(); err != nil { // the crash
				t.Fatal(err)
			}
			close(hold)
			if err := b.Close(); err != nil && !strings.Contains(err.Error(), "not released") {
				t.Log(err)
			}
			b, stop := start(t, first.Connect())
			topic, ship = orders(t, b, 0), parcels(t, b)
			again := 0
			_, err = topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
				again++
				return ship.Publish(ctx, parcel{"c", m.Value.N}, bus.Within(m))
			})
			if err != nil {
				t.Fatal(err)
			}
			settle()
			got := collect(t, ship)
			settle()
			for range 2 {
				select {
				case m := <-got:
					if m.Value.N/2 != i {
						t.Errorf("%+v", m)
					}
				default:
					t.Errorf("after %v: an event is missing; %d were handled, and %d again", wait, handled, again)
				}
			}
			if len(got) > 0 || again == 0 || again > 2 {
				t.Errorf("after %v: %d events too many; %d were handled, and %d again", wait, len(got), handled, again)
			}
			stop()
		}
	})
}

// An event whose target was deleted meanwhile is a dead letter, and holds up nothing.
func TestWithinDeletedTopic(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic, ship := orders(t, b, 0), parcels(t, b)
		sub, err := topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
			switch m.Value.N {
			case 1:
				if err := ship.Publish(ctx, parcel{}, bus.Within(m)); err != nil {
					t.Error(err)
				}
				if err := ship.Delete(ctx); err != nil {
					t.Error(err)
				}
			case 2:
				if err := ship.Publish(ctx, parcel{}, bus.Within(m)); !errors.Is(err, bus.ErrTopicClosed) {
					t.Error(err)
				}
			default:
				return topic.Publish(ctx, order{"more", 100}, bus.Within(m), bus.After(time.Hour))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, 0, 4)
		settle()
		all := letters(t, topic, "billing")
		if len(all) != 1 || all[0].Offset != 2 || !strings.Contains(all[0].Error, "no such topic") || all[0].Attempts != 1 {
			t.Errorf("the dead letters are %+v", all)
		}
		if payload, _ := all[0].Delivery.Payload(); string(payload) != `{"Customer":"c","N":1}` {
			t.Errorf("its payload is %s", payload)
		}
		if st := sub.Stats(); st.Committed != 4 || !st.Balanced() {
			t.Errorf("%v, committed %d", st, st.Committed)
		}
	})
}
