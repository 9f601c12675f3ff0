package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

type (
	depart     struct{ Origin string }
	arrive     struct{ Destination string }
	box[T any] struct{ In T }
)

// nameOf is the type's name that events of a topic travel with.
func nameOf[T any](t *testing.T, cfg bus.TopicConfig[T]) string {
	t.Helper()
	tr := memory.NewBroker().Connect()
	caught := &namesSeen{Transport: tr}
	b := newBus(t, bus.Config{Transport: caught})
	cfg.Name = "named"
	var zero T
	if err := newTopic(t, b, cfg).Publish(t.Context(), zero); err != nil {
		t.Fatal(err)
	}
	return caught.name
}

// namesSeen is a transport that looks at what is published.
type namesSeen struct {
	*memory.Transport
	name string
}

func (s *namesSeen) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	s.name = envs[0].TypeName
	s.Transport.Publish(ctx, envs, results)
}

func TestTypeNames(t *testing.T) {
	type local struct{}
	for _, tc := range []struct{ got, want string }{
		{nameOf(t, bus.TopicConfig[depart]{}), "depart"},
		{nameOf(t, bus.TopicConfig[*depart]{}), "depart"},
		{nameOf(t, bus.TopicConfig[**depart]{}), "depart"},
		{nameOf(t, bus.TopicConfig[local]{}), "local"},
		{nameOf(t, bus.TopicConfig[box[depart]]{}), "box[depart]"},
		{nameOf(t, bus.TopicConfig[box[*depart]]{}), "box[*depart]"},
		{nameOf(t, bus.TopicConfig[box[map[string][]transport.Topic]]{}), "box[map[string][]Topic]"},
		{nameOf(t, bus.TopicConfig[depart]{TypeName: "old.Depart"}), "old.Depart"},
		{nameOf(t, bus.TopicConfig[depart]{TypeName: "-"}), ""},
		{nameOf(t, bus.TopicConfig[string]{}), ""},
		{nameOf(t, bus.TopicConfig[int]{}), ""},
		{nameOf(t, bus.TopicConfig[any]{}), ""},
		{nameOf(t, bus.TopicConfig[[]depart]{}), ""},
		{nameOf(t, bus.TopicConfig[map[string]depart]{}), ""},
		{nameOf(t, bus.TopicConfig[struct{ A int }]{}), ""},
		{nameOf(t, bus.TopicConfig[json.RawMessage]{}), ""},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
	// Names that are too long end in a hash of all of them.
	type a12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890 struct{}
	type b12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890 struct{}
	a := nameOf(t, bus.TopicConfig[box[a12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890]]{})
	b := nameOf(t, bus.TopicConfig[box[b12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890]]{})
	if len(a) != transport.MaxTypeName || a == b {
		t.Errorf("%q\n%q", a, b)
	}
}

func TestInvalidTypeNames(t *testing.T) {
	b := newBus(t, bus.Config{})
	for _, name := range []string{strings.Repeat("x", 201), "a\nb", "\xff", "\x00"} {
		_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "n", TypeName: name})
		requireError(t, err, bus.ErrInvalidConfig)
	}
	newTopic(t, b, bus.TopicConfig[int]{Name: "n", TypeName: "shop.Größe"})
	_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "n"})
	requireError(t, err, bus.ErrTopicConflict)
}

// An event of another type decodes without an error, and is another thing: it is a dead
// letter, whatever middleware decodes it.
func TestEventsOfAnotherTypeAreDeadLetters(t *testing.T) {
	for name, use := range map[string][]bus.Middleware{"plain": nil, "Codec": {middleware.Codec(nil)}} {
		t.Run(name, func(t *testing.T) {
			broker := memory.NewBroker()
			from, to := newBus(t, bus.Config{Transport: broker.Connect()}), newBus(t, bus.Config{Transport: broker.Connect()})
			var handled list[arrive]
			sub := subscribe(t, newTopic(t, to, bus.TopicConfig[arrive]{Name: "n"}), "s", func(_ context.Context, a arrive) error {
				handled.add(a)
				return nil
			}, bus.Use(use...))
			if err := newTopic(t, from, bus.TopicConfig[depart]{Name: "n"}).Publish(t.Context(), depart{"SFO"}); err != nil {
				t.Fatal(err)
			}
			if err := to.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			handled.require(t, "handled")
			letters := sub.DeadLetters()
			if len(letters) != 1 || !errors.Is(letters[0].Err, bus.ErrOtherType) {
				t.Fatalf("%v", letters)
			}
			for _, text := range []string{"publisher " + from.ID(), "depart", "arrive", "TypeName"} {
				if !strings.Contains(letters[0].Err.Error(), text) {
					t.Errorf("%v does not say %q", letters[0].Err, text)
				}
			}
			if payload, ok := letters[0].Delivery.Payload(); !ok || string(payload) != `{"Origin":"SFO"}` {
				t.Errorf("the letter's payload is %q", payload)
			}
		})
	}
}

// What is not known is not compared, and a name that is given counts.
func TestTypesThatMayDiffer(t *testing.T) {
	arrives := bus.TopicConfig[arrive]{Name: "n"}
	for name, from := range map[string]func(t *testing.T, b *bus.Bus) error{
		"no name": func(t *testing.T, b *bus.Bus) error {
			return newTopic(t, b, bus.TopicConfig[map[string]string]{Name: "n"}).Publish(t.Context(), map[string]string{"Destination": "SFO"})
		},
		"not compared": func(t *testing.T, b *bus.Bus) error {
			return newTopic(t, b, bus.TopicConfig[depart]{Name: "n", TypeName: "-"}).Publish(t.Context(), depart{})
		},
		"the name of the other": func(t *testing.T, b *bus.Bus) error {
			cfg := bus.TopicConfig[depart]{Name: "n", TypeName: "arrive"}
			return newTopic(t, b, cfg).Publish(t.Context(), depart{})
		},
		"a pointer": func(t *testing.T, b *bus.Bus) error {
			return newTopic(t, b, bus.TopicConfig[*arrive]{Name: "n"}).Publish(t.Context(), &arrive{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			broker := memory.NewBroker()
			pub, sub := newBus(t, bus.Config{Transport: broker.Connect()}), newBus(t, bus.Config{Transport: broker.Connect()})
			topic := newTopic(t, sub, arrives)
			s := subscribe(t, topic, "s", func(context.Context, arrive) error { return nil })
			if err := from(t, pub); err != nil {
				t.Fatal(err)
			}
			if err := sub.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Handled != 1 {
				t.Errorf("%v", st)
			}
			if found := topic.Mismatches(); found != nil {
				t.Errorf("%v", found)
			}
		})
	}
}

// Peers that know a topic otherwise are listed, and logged once each, whatever the
// transport repeats.
func TestMismatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.WarnLevel)
		tr := &talker{Transport: memory.NewBroker().Connect(), sink: make(chan transport.Sink, 1)}
		b := newBus(t, bus.Config{Transport: tr, Logger: zap.New(core)})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Partitions: 4})
		sink, ok := (<-tr.sink).(transport.MismatchSink)
		if !ok {
			t.Fatal("the bus takes no mismatches")
		}
		here := transport.Topic{Name: "n", Partitions: 4}
		eight, nine := transport.Topic{Name: "n", Partitions: 8}, transport.Topic{Name: "n", Partitions: 9}
		m := transport.Mismatch{Peer: "p", Here: here, There: eight}
		for range 3 {
			sink.Mismatch(m)
		}
		sink.Mismatch(transport.Mismatch{Peer: "p", Here: here, There: here})                            // there is none
		sink.Mismatch(transport.Mismatch{Peer: "p", Here: transport.Topic{Name: "other"}, There: eight}) // there is no such topic
		if found := topic.Mismatches(); len(found) != 1 || found[0] != m || logs.Len() != 1 {
			t.Errorf("%v, %v", found, logs.All())
		}
		sink.Mismatch(transport.Mismatch{Peer: "p", Subscribes: true, Here: here, There: eight}) // it does both
		sink.Mismatch(transport.Mismatch{Peer: "p", Here: here, There: nine})                    // it knows it anew
		if found := topic.Mismatches(); len(found) != 2 || found[0].There != nine || logs.Len() != 3 {
			t.Errorf("%v, %v", found, logs.All())
		}
		for i := range 1000 {
			sink.Mismatch(transport.Mismatch{Peer: strings.Repeat("x", i), Here: here, There: eight})
		}
		if n := len(topic.Mismatches()); n != 256 || logs.Len() != 257 {
			t.Errorf("%d are kept, %d logged", n, logs.Len())
		}
		time.Sleep(time.Second)
	})
}

// talker is a transport that lets go of its sink.
type talker struct {
	*memory.Transport
	sink chan transport.Sink
}

func (tr *talker) Serve(ctx context.Context, sink transport.Sink) error {
	tr.sink <- sink
	return tr.Transport.Serve(ctx, sink)
}
