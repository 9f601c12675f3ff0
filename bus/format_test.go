package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// %v of a dead letter and of a delivery says what an operator looks for, and none of their insides.
func TestLettersReadWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "orders", Key: func(int) string { return "k" }})
		s := subscribe(t, topic, "billing", func(context.Context, int) error { return errors.New("no funds") })
		if err := topic.Publish(t.Context(), 1, bus.ID("o-1")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		l := s.DeadLetters()[0]
		want := `orders/billing: event o-1, key "k", given up after 1 attempt at ` + time.Now().Format(time.RFC3339) + `: no funds`
		for _, verb := range []string{"%v", "%+v", "%s"} {
			if got := fmt.Sprintf(verb, l); got != want {
				t.Errorf("%s: %s, want %s", verb, got, want)
			}
			if got := fmt.Sprintf(verb, l.Delivery); got != `orders/billing: event o-1, key "k", attempt 1` {
				t.Errorf("%s: %s", verb, got)
			}
		}
	})
	d := bustest.EnvelopeDelivery(bus.TopicConfig[int]{Name: "n"}, nil)
	if got := fmt.Sprint(d); got != "n/test: event without an ID, attempt 1, 0 bytes encoded" {
		t.Error(got)
	}
	if got := fmt.Sprint(bus.Letter{}, new(bus.Delivery), (*bus.Delivery)(nil)); got != "no dead letter no event no event" {
		t.Error(got)
	}
	bad := bustest.TypedDelivery(bus.TopicConfig[int]{Name: "n", Key: func(int) string { panic("no key") }}, 1)
	if got := fmt.Sprint(bad); got == "" {
		t.Error("nothing")
	}
}

// A newer event that takes the place of one of its key is what KeepLatest is for: nothing to be warned of.
func TestKeepLatestWarnsOfFullMailboxesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		b := newBus(t, bus.Config{Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Key: func(n int) string { return fmt.Sprint(n % 10) }})
		s := subscribe(t, topic, "s", ignore[int], bus.Mailbox(3, bus.KeepLatest))
		s.Pause()
		publish(t, topic, 1, 1, 11, 21, 2)
		if n := logs.FilterMessageSnippet("mailbox was full").Len(); n != 0 || s.Stats().Dropped != 3 {
			t.Errorf("%d warnings with 2 of 3 queued, %v", n, s.Stats())
		}
		publish(t, topic, 3, 4)
		warned := logs.FilterMessageSnippet("mailbox was full").All()
		if len(warned) != 1 || warned[0].ContextMap()["dropped"] != uint64(1) || s.Stats().Dropped != 4 {
			t.Errorf("%v, %v", warned, s.Stats())
		}
		shutdown(t, b)
	})
}

// Errors in the log carry no stack of this library's own frames.
func TestErrorsAreLoggedWithoutOurStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		b := newBus(t, bus.Config{Logger: logger.WithOptions(zap.AddStacktrace(zap.DebugLevel))})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		subscribe(t, topic, "s", func(context.Context, int) error { panic("boom") }, bus.PanicBudget(0, time.Second),
			bus.OnDeadLetter(func(context.Context, bus.Letter) { panic("in the callback") }))
		publish(t, topic, 1)
		synctest.Wait()
		if logs.FilterMessageSnippet("panicked").Len() < 2 {
			t.Errorf("%v", logs.All())
		}
		for _, e := range logs.All() {
			if e.Stack != "" {
				t.Errorf("%s has a stack: %s", e.Message, e.Stack)
			}
		}
		shutdown(t, b)
	})
}
