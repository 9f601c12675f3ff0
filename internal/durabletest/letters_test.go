package durabletest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// letters are the dead letters of a consumer.
func letters(t *testing.T, topic *bus.Topic[order], consumer string) (all []bus.StoredLetter) {
	t.Helper()
	for l, err := range topic.DeadLetters(t.Context(), consumer) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// garbage appends an event that no codec can read, behind the bus's back.
func garbage(t *testing.T, log transport.Log, payload string) {
	t.Helper()
	results := make([]transport.AppendResult, 1)
	log.Append(t.Context(), []transport.Batch{{
		Topic: "orders", Envelopes: []*transport.Envelope{{ID: "garbage", Payload: []byte(payload), Time: time.Now()}},
	}}, results)
	if results[0].Err != nil {
		t.Fatal(results[0].Err)
	}
}

// A letter says all that is known of why the event was given up, also to the next process.
func TestLetterOutlivesTheBus(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		log := open()
		b, stop := start(t, log)
		topic := orders(t, b, 0)
		began := time.Now()
		told := 0
		sub, err := topic.Subscribe(t.Context(), "billing", func(_ context.Context, o order) error {
			switch o.N {
			case 1:
				panic("no such customer")
			case 2:
				if time.Since(began) < time.Hour {
					return bus.RetryAfter(time.Hour, errors.New("not yet"))
				}
				return fmt.Errorf("never: %w", context.DeadlineExceeded)
			}
			return bus.DeadLetter(nil)
		}, bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
			told++
			if n, _ := l.Delivery.Payload(); len(letters(t, topic, "billing")) >= told {
				t.Errorf("letter %d was in the log before OnDeadLetter was told: %s", told, n)
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i + 1}, bus.Header("n", fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		garbage(t, log, "{no json")
		pass(2 * time.Hour)
		if n := len(sub.DeadLetters()); n != 0 || told != 4 {
			t.Errorf("the subscription keeps %d letters, and OnDeadLetter was told of %d", n, told)
		}
		if _, err := sub.Replay(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "Topic.Replay") {
			t.Errorf("Subscription.Replay: %v", err)
		}
		stop()
		b, stop = start(t, open())
		defer stop()
		all := letters(t, orders(t, b, 0), "billing")
		if len(all) != 4 {
			t.Fatalf("%d letters", len(all))
		}
		// The one that was tried for an hour is the last.
		for i, want := range []struct {
			offset           uint64
			text, typ, stack string
			attempts         int
			first, last      time.Duration
			payload          string
		}{
			{1, "panic: no such customer", "*bus.PanicError", "TestLetterOutlivesTheBus", 1, 0, 0, `{"Customer":"0","N":1}`},
			{3, "dead letter", "*bus.Verdict", "", 1, 0, 0, `{"Customer":"2","N":3}`},
			{4, "bus: decode orders: subscription billing", "*bus.Error", "", 1, 0, 0, "{no json"},
			{2, "never: context deadline exceeded", "*fmt.wrapError", "", 2, 0, time.Hour, `{"Customer":"1","N":2}`},
		} {
			l := all[i]
			if l.ID != uint64(i+1) || l.Consumer != "billing" || l.Offset != want.offset || l.Attempts != want.attempts || l.Replaying {
				t.Errorf("letter %d is %+v", i, l)
			}
			if !strings.HasPrefix(l.Error, want.text) || l.ErrorType != want.typ {
				t.Errorf("letter %d: error %q of type %s", i, l.Error, l.ErrorType)
			}
			if (l.Stack != nil) != (want.stack != "") || !strings.Contains(string(l.Stack), want.stack) {
				t.Errorf("letter %d: stack %q", i, l.Stack)
			}
			first, last, at := l.First.Sub(began).Truncate(time.Second), l.Last.Sub(began).Truncate(time.Second), l.At.Sub(began).Truncate(time.Second)
			if first != want.first || last != want.last || at != 0 {
				t.Errorf("letter %d: failed from %v to %v, taken at %v", i, first, last, at)
			}
			if payload, ok := l.Delivery.Payload(); !ok || string(payload) != want.payload {
				t.Errorf("letter %d: payload %q", i, payload)
			}
			m, err := bus.MessageOf[order](l.Delivery)
			if want.offset == 4 {
				if err == nil {
					t.Errorf("letter %d was decoded: %+v", i, m)
				}
				continue
			}
			if n := want.offset; err != nil || m.Value.N != int(n) || m.Offset != n || m.Headers.Get("n") != fmt.Sprint(n-1) || m.Attempt != want.attempts {
				t.Errorf("letter %d: %+v, %v", i, m, err)
			}
		}
	})
}

// What is replayed is handled again, by its consumer alone, with its old offset and from attempt 1. A
// letter that is given up again is the same one.
func TestReplay(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		fail := func(_ context.Context, _ order) error { return errors.New("never") }
		if _, err := topic.Subscribe(t.Context(), "billing", fail); err != nil {
			t.Fatal(err)
		}
		other := make(recorder, 100)
		other.subscribe(t, topic, "other")
		const n = 20
		for i := range n {
			if err := topic.Publish(t.Context(), order{"c", i}); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		replay := func(want int, match func(bus.StoredLetter) bool) {
			t.Helper()
			if got, err := topic.Replay(t.Context(), "billing", match); err != nil || got != want {
				t.Errorf("%d were replayed, want %d, %v", got, want, err)
			}
		}
		replay(1, func(l bus.StoredLetter) bool { return l.Offset == 5 })
		settle()
		if all := letters(t, topic, "billing"); len(all) != n || all[4].ID != 5 || all[4].Replaying || !all[4].Last.After(all[3].Last) {
			t.Errorf("%d letters, of which the fifth is %+v", len(all), all[4])
		}
		stop()
		b, stop = start(t, open())
		topic = orders(t, b, 0)
		replay(n, nil) // nobody is there
		replay(0, nil)
		stop()
		b, stop = start(t, open())
		defer stop()
		topic = orders(t, b, 0)
		got := make(recorder, 100)
		sub := got.subscribe(t, topic, "billing")
		seen := make(map[uint64]bool)
		for range n {
			m := <-got
			if m.Attempt != 1 || m.Offset != uint64(m.Value.N+1) || seen[m.Offset] {
				t.Errorf("%+v", m)
			}
			seen[m.Offset] = true
		}
		settle()
		if st := sub.Stats(); len(got) > 0 || len(letters(t, topic, "billing")) > 0 || st.Committed != n || !st.Balanced() {
			t.Errorf("%d more, %d letters, %v, committed %d", len(got), len(letters(t, topic, "billing")), st, st.Committed)
		}
		if len(other) != n {
			t.Errorf("the other consumer was given %d events", len(other))
		}
	})
}

// Letters are read in pages, and nothing is held meanwhile: a loop's body may publish, replay and purge,
// and ends the loop when it wants to.
func TestLetterPages(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := orders(t, b, 2)
		if _, err := topic.Subscribe(t.Context(), "billing", func(context.Context, order) error { return errors.New("never") }, bus.Lanes(4)); err != nil {
			t.Fatal(err)
		}
		const n = 700
		events := make([]order, n)
		for i := range events {
			events[i] = order{fmt.Sprint(i), i}
		}
		if err := topic.PublishBatch(t.Context(), events); err != nil {
			t.Fatal(err)
		}
		settle()
		seen, last := 0, uint64(0)
		for l, err := range topic.DeadLetters(t.Context(), "billing") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; l.ID <= last {
				t.Fatalf("letter %d comes after letter %d", l.ID, last)
			}
			last = l.ID
			if seen%200 == 1 { // what is given up meanwhile is not part of this loop
				if err := topic.Publish(t.Context(), order{"more", seen}); err != nil {
					t.Fatal(err)
				}
				settle()
			}
		}
		if seen != n {
			t.Errorf("%d letters, want %d", seen, n)
		}
		seen = 0
		for range topic.DeadLetters(t.Context(), "billing") {
			if seen++; seen == 300 {
				break
			}
		}
		purge := func(want int, match func(bus.StoredLetter) bool) {
			t.Helper()
			if got, err := topic.Purge(t.Context(), "billing", match); err != nil || got != want {
				t.Errorf("%d were purged, want %d, %v", got, want, err)
			}
		}
		purge(n/2, func(l bus.StoredLetter) bool { // it may take its time
			pass(time.Second)
			m, err := bus.MessageOf[order](l.Delivery)
			return err == nil && m.Key != "more" && m.Value.N%2 == 0
		})
		purge(n/2+4, nil)
		purge(0, nil)
	})
}

// What there is to say of letters that can't be had.
func TestLettersRefused(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		refused := func(ctx context.Context, consumer string, want error) {
			t.Helper()
			n := 0
			for l, err := range topic.DeadLetters(ctx, consumer) {
				if n++; !errors.Is(err, want) || l.ID != 0 {
					t.Errorf("%+v, %v", l, err)
				}
			}
			_, replayErr := topic.Replay(ctx, consumer, nil)
			_, purgeErr := topic.Purge(ctx, consumer, nil)
			if n != 1 || !errors.Is(replayErr, want) || !errors.Is(purgeErr, want) {
				t.Errorf("%d results; %v; %v", n, replayErr, purgeErr)
			}
		}
		refused(t.Context(), "nobody", transport.ErrNoSuchConsumer)
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the cause")
		cancel(cause)
		refused(ctx, "nobody", cause)
		stop()
		refused(t.Context(), "nobody", bus.ErrClosed)
	})
}
