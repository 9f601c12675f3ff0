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
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/memory"
)

func TestInvalidNames(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "good"})
	for _, name := range []string{"", strings.Repeat("x", 201), "{tag}", "a}b", "a b", "a/b", "a\x00", "ünicode", "a\n"} {
		word := "it is empty"
		switch {
		case len(name) > 200:
			word = "201 bytes"
		case name != "":
			word = fmt.Sprintf("%q", name)
		}
		_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: name})
		requireError(t, err, bus.ErrInvalidName, "new topic", word)
		_, err = topic.Subscribe(t.Context(), name, ignore[int])
		requireError(t, err, bus.ErrInvalidName, "subscribe", "good", word)
	}
	for _, name := range []string{"a", "A-Z_0:9.x", strings.Repeat("x", 200)} {
		if topic, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: name}); err != nil || topic.Name() != name {
			t.Errorf("%q: %v", name, err)
		}
		if s, err := topic.Subscribe(t.Context(), name, ignore[int]); err != nil || s.Name() != name || s.Topic() != "good" {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// One name has one type and one configuration on a bus.
func TestTopicConflict(t *testing.T) {
	b := newBus(t, bus.Config{})
	base := bus.TopicConfig[event]{Name: "flights", Key: eventKey, Codec: codec.JSON, Partitions: 4, Stamp: true}
	topic := newTopic(t, b, base)
	for _, tc := range []struct {
		name   string
		change func(*bus.TopicConfig[event])
		words  []string
	}{
		{"Key", func(c *bus.TopicConfig[event]) { c.Key = nil }, []string{"Key"}},
		{"Codec", func(c *bus.TopicConfig[event]) { c.Codec = codec.Raw }, []string{"Codec", "json", "raw"}},
		{"Partitions", func(c *bus.TopicConfig[event]) { c.Partitions = 8 }, []string{"Partitions", "4", "8"}},
		{"Stamp", func(c *bus.TopicConfig[event]) { c.Stamp = false }, []string{"Stamp", "true", "false"}},
	} {
		other := base
		tc.change(&other)
		_, err := bus.NewTopic(b, other)
		requireError(t, err, bus.ErrTopicConflict, append(tc.words, "flights")...)
	}
	_, err := bus.NewTopic(b, bus.TopicConfig[string]{Name: "flights"})
	requireError(t, err, bus.ErrTopicConflict, "flights", "string", "bus_test.event")
	_, err = bus.NewTopic(b, bus.TopicConfig[*event]{Name: "flights"})
	requireError(t, err, bus.ErrTopicConflict, "*bus_test.event")

	same := base
	same.Key = func(e event) string { return "other" } // functions can't be compared
	same.Codec = nil                                   // the default is JSON
	if again, err := bus.NewTopic(b, same); err != nil || again != topic {
		t.Errorf("%p and %p: %v", topic, again, err)
	}
	// Another bus has topics of its own.
	if _, err := bus.NewTopic(newBus(t, bus.Config{}), bus.TopicConfig[string]{Name: "flights"}); err != nil {
		t.Error(err)
	}
}

func TestInvalidTopicConfig(t *testing.T) {
	b := newBus(t, bus.Config{})
	for _, n := range []int{-1, router.MaxPartitions + 1} {
		_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "n", Partitions: n})
		requireError(t, err, bus.ErrInvalidConfig, "new topic n", "Partitions", fmt.Sprint(n), fmt.Sprint(router.MaxPartitions))
	}
	newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: router.MaxPartitions})
}

func TestInvalidConfig(t *testing.T) {
	for _, tc := range []struct {
		cfg   bus.Config
		words []string
	}{
		{bus.Config{InboxBytes: -1}, []string{"InboxBytes", "-1"}},
		{bus.Config{Grace: -time.Second}, []string{"Grace", "-1s"}},
		{bus.Config{Use: []bus.Middleware{passThrough, nil}}, []string{"Use[1]", "nil"}},
	} {
		b, err := bus.New(tc.cfg)
		requireError(t, err, bus.ErrInvalidConfig, append(tc.words, "new")...)
		if b != nil {
			t.Error("a bus and an error")
		}
	}
}

func TestNilHandler(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	_, err := topic.Subscribe(t.Context(), "s", nil)
	requireError(t, err, bus.ErrNilHandler, "n", "s")
	_, err = topic.SubscribeMessage(t.Context(), "s", nil)
	requireError(t, err, bus.ErrNilHandler, "n", "s")
	subscribe(t, topic, "s", ignore[int]) // the name was not taken
}

func TestInvalidSubscribeOptions(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	for _, tc := range []struct {
		opt   bus.SubscribeOption
		words []string
	}{
		{bus.Lanes(0), []string{"Lanes", "0", "1 to 1024"}},
		{bus.Lanes(-1), []string{"Lanes", "-1"}},
		{bus.Lanes(1025), []string{"Lanes", "1025"}},
		{bus.Mailbox(0, bus.Block), []string{"Mailbox", "0"}},
		{bus.Mailbox(-5, bus.Block), []string{"Mailbox", "-5"}},
		{bus.Mailbox(1<<24+1, bus.Block), []string{"Mailbox"}},
		{bus.Mailbox(1, bus.Policy(99)), []string{"Policy(99)"}},
		{bus.MaxDeferred(0), []string{"MaxDeferred", "0"}},
		{bus.PanicBudget(-1, time.Second), []string{"PanicBudget", "-1"}},
		{bus.PanicBudget(1, 0), []string{"PanicBudget", "0s"}},
		{bus.PanicBudget(1, -time.Second), []string{"PanicBudget", "-1s"}},
		{bus.Use(passThrough, nil), []string{"middleware 1", "nil"}},
		{nil, []string{"option 1", "nil"}},
	} {
		_, err := topic.Subscribe(t.Context(), "s", ignore[int], bus.Lanes(2), tc.opt)
		requireError(t, err, bus.ErrInvalidConfig, append(tc.words, "subscribe", "n", "s")...)
	}
	if st := topic.Stats(); st.Subscriptions != 0 {
		t.Errorf("%+v", st)
	}
	// The bounds themselves, and nil callbacks, are fine.
	subscribe(t, topic, "s", ignore[int], bus.Lanes(1024), bus.Mailbox(1<<24, bus.Block), bus.MaxDeferred(1),
		bus.PanicBudget(0, 1), bus.OnDeadLetter(nil), bus.OnGap(nil), bus.Use())
}

// A zero option changes nothing, wherever it stands.
func TestZeroPublishOption(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		got := messages(t, topic, "s")
		var receipt bus.Receipt
		if err := topic.Publish(t.Context(), 1, bus.ID("a"), bus.PublishOption{}, bus.Header("h", "v"), bus.ReceiptTo(&receipt), bus.PublishOption{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if ms := got.get(); len(ms) != 1 || ms[0].ID.String() != "a" || ms[0].Headers.Get("h") != "v" || ms[0].Headers.Len() != 1 || receipt.Receivers != 1 {
			t.Errorf("%+v, %+v", ms, receipt)
		}
	})
}

// A name is taken from Subscribe until the subscription has left its topic.
func TestDuplicateSubscription(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		other := newTopic(t, b, bus.TopicConfig[int]{Name: "other"})
		s := subscribe(t, topic, "s", ignore[int])
		_, err := topic.Subscribe(t.Context(), "s", ignore[int])
		requireError(t, err, bus.ErrDuplicateSubscription, "subscribe", "n", "s")
		subscribe(t, other, "s", ignore[int])
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := subscribe(t, topic, "s", ignore[int])
		publish(t, topic, 1)
		synctest.Wait()
		if stats(t, s).Accepted != 0 || stats(t, again).Handled != 1 {
			t.Errorf("%v; %v", stats(t, s), stats(t, again))
		}
	})
}

func TestErrClosed(t *testing.T) {
	for _, end := range []string{"close", "shutdown"} {
		t.Run(end, func(t *testing.T) {
			bothWays(t, func(t *testing.T, broker bool) {
				b := newBus(t, config(broker))
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s := subscribe(t, topic, "s", ignore[int])
				if end == "close" {
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				} else {
					shutdown(t, b)
				}
				requireError(t, topic.Publish(t.Context(), 1), bus.ErrClosed, "publish", "n")
				err := topic.PublishBatch(t.Context(), []int{1, 2})
				requireError(t, err, bus.ErrClosed, "publish", "n", "2 of 2")
				var be *bus.BatchError
				if !errors.As(err, &be) || len(be.Failed) != 2 || be.Total != 2 {
					t.Errorf("%+v", be)
				}
				if err := topic.PublishBatch(t.Context(), nil); err != nil {
					t.Errorf("an empty batch: %v", err)
				}
				_, err = topic.Subscribe(t.Context(), "new", ignore[int])
				requireError(t, err, bus.ErrClosed, "subscribe", "n", "new")
				_, err = bus.NewTopic(b, bus.TopicConfig[int]{Name: "n"})
				requireError(t, err, bus.ErrClosed, "new topic", "n")
				if err := s.Drain(t.Context()); err != nil {
					t.Errorf("drain: %v", err)
				}
				if err := s.Err(); err != nil {
					t.Errorf("Err: %v", err)
				}
				if st := topic.Stats(); st.Published != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestErrorText(t *testing.T) {
	for _, tc := range []struct {
		err  bus.Error
		text string
	}{
		{bus.Error{Op: "publish", Topic: "n", Subscription: "s", Err: bus.ErrMailboxFull, Detail: "why"}, "bus: publish n: subscription s: mailbox full: why"},
		{bus.Error{Op: "new", Err: bus.ErrInvalidConfig}, "bus: new: invalid configuration"},
		{bus.Error{Op: "close", Detail: "why"}, "bus: close: why"},
	} {
		if tc.err.Error() != tc.text {
			t.Errorf("%q, want %q", tc.err.Error(), tc.text)
		}
		if errors.Unwrap(&tc.err) != tc.err.Err {
			t.Errorf("unwraps to %v", errors.Unwrap(&tc.err))
		}
	}
}

func TestBatchErrorText(t *testing.T) {
	first, second := errors.New("first cause"), &bus.Error{Op: "publish", Topic: "n", Err: bus.ErrMailboxFull}
	err := error(&bus.BatchError{Topic: "n", Total: 10, Failed: []bus.IndexedError{{Index: 3, Err: first}, {Index: 7, Err: second}}})
	if want := "bus: publish batch n: 2 of 10 events failed, the first at index 3: first cause"; err.Error() != want {
		t.Errorf("%q", err)
	}
	var e *bus.Error
	if !errors.Is(err, first) || !errors.Is(err, bus.ErrMailboxFull) || !errors.As(err, &e) || e != second {
		t.Error("it does not unwrap to its causes")
	}
}

func TestPanicErrorText(t *testing.T) {
	err := &bus.PanicError{Value: context.Canceled, Stack: []byte("stack")}
	if err.Error() != "panic: context canceled" || !errors.Is(err, context.Canceled) {
		t.Errorf("%q", err)
	}
	if err := (&bus.PanicError{Value: 1}); errors.Unwrap(err) != nil {
		t.Errorf("unwraps to %v", errors.Unwrap(err))
	}
}

// The errors of a codec name it, and tell that nothing was published.
func TestPublishThatCannotEncode(t *testing.T) {
	b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect()})
	topic := newTopic(t, b, bus.TopicConfig[any]{Name: "n"})
	got := messages(t, topic, "s")
	err := topic.Publish(t.Context(), make(chan int))
	var ce *codec.Error
	if !errors.As(err, &ce) || ce.Codec != "json" || ce.Op != "encode" || !strings.Contains(err.Error(), "nothing was published") {
		t.Errorf("%v", err)
	}
	err = topic.PublishBatch(t.Context(), []any{1.0, make(chan int), 3.0})
	var be *bus.BatchError
	if !errors.As(err, &be) || be.Total != 3 || len(be.Failed) != 1 || be.Failed[0].Index != 1 || !errors.As(err, &ce) {
		t.Errorf("%v", err)
	}
	shutdown(t, b)
	if n := len(got.get()); n != 2 {
		t.Errorf("%d events came", n)
	}
}

// A middleware that returns no handler is found when it is used, not by the first event.
func TestMiddlewareThatReturnsNil(t *testing.T) {
	none := func(bus.Handler) bus.Handler { return nil }
	for name, tc := range map[string]struct {
		bus, sub []bus.Middleware
		want     string
	}{
		"of a subscription":           {nil, []bus.Middleware{passThrough, none}, "the middleware at index 1 of Use returned none"},
		"of the bus":                  {[]bus.Middleware{none, passThrough}, nil, "the middleware at index 0 of Config.Use returned none"},
		"of a subscription, in Debug": {[]bus.Middleware{passThrough}, []bus.Middleware{passThrough, none}, "the middleware at index 1 of Use returned none"},
		"of the bus, in Debug":        {[]bus.Middleware{none}, nil, "the middleware at index 0 of Config.Use returned none"},
	} {
		b := newBus(t, bus.Config{Use: tc.bus, Debug: strings.HasSuffix(name, "in Debug")})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Key: func(int) string { return "k" }})
		_, err := topic.Subscribe(t.Context(), "s", ignore[int], bus.Use(tc.sub...))
		requireError(t, err, bus.ErrNilHandler, tc.want)
		_, err = topic.SubscribeMessage(t.Context(), "s", func(context.Context, bus.Message[int]) error { return nil }, bus.Use(tc.sub...))
		requireError(t, err, bus.ErrNilHandler, tc.want)
		_, err = topic.SubscribeBatch(t.Context(), "s", func(context.Context, []bus.Message[int]) error { return nil }, bus.Use(tc.sub...))
		requireError(t, err, bus.ErrNilHandler, tc.want)
		_, err = topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[int], error) {
			return bus.Actor[int]{}, nil
		}, bus.Use(tc.sub...))
		requireError(t, err, bus.ErrNilHandler, tc.want)
		if _, err := topic.Subscribe(t.Context(), "s", ignore[int]); tc.bus == nil && err != nil {
			t.Errorf("%s: the name is not free: %v", name, err)
		}
	}
}
