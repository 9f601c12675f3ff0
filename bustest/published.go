package bustest

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// Match tells whether a published message is the one that is looked for.
type Match[T any] func(bus.Message[T]) bool

// Value matches events that are deeply equal to v.
func Value[T any](v T) Match[T] {
	return func(m bus.Message[T]) bool { return reflect.DeepEqual(m.Value, v) }
}

// Where matches events for which f is true.
func Where[T any](f func(event T) bool) Match[T] {
	return func(m bus.Message[T]) bool { return f(m.Value) }
}

// Key matches events with that ordering key.
func Key[T any](key string) Match[T] {
	return func(m bus.Message[T]) bool { return m.Key == key }
}

// Published returns everything published on the topic so far, in order, decoded
// by the topic's codec. An event that can't be decoded fails the test.
func Published[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T]) []bus.Message[T] {
	t.Helper()
	var msgs []bus.Message[T]
	for i, env := range b.tape.of(topic.Name) {
		m, err := bus.MessageOf[T](bus.NewEncodedDelivery(topic, env))
		if err != nil {
			t.Fatalf("bustest: event %d of topic %s: %v", i, topic.Name, err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

// RequirePublished returns the first message published on the topic for which
// all matches hold, any message with none, and fails the test at once if there
// is no such message.
func RequirePublished[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) bus.Message[T] {
	t.Helper()
	msgs := Published(t, b, topic)
	for _, m := range msgs {
		if all(m, matches) {
			return m
		}
	}
	t.Fatalf("bustest: nothing published on %s matches\n%s", topic.Name, describe(b, topic.Name, msgs))
	return bus.Message[T]{}
}

// RequireNotPublished fails the test at once if a message was published on the
// topic for which all matches hold; with no matches, if any was. It says nothing
// about what is still to come.
func RequireNotPublished[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) {
	t.Helper()
	msgs := Published(t, b, topic)
	for i, m := range msgs {
		if all(m, matches) {
			t.Fatalf("bustest: message %d published on %s matches: %+v\n%s", i, topic.Name, m.Value, describe(b, topic.Name, msgs))
		}
	}
}

func all[T any](m bus.Message[T], matches []Match[T]) bool {
	for _, match := range matches {
		if !match(m) {
			return false
		}
	}
	return true
}

// shown is how many messages a failure lists.
const shown = 20

// describe lists what was published instead.
func describe[T any](b *Bus, topic string, msgs []bus.Message[T]) string {
	var s strings.Builder
	fmt.Fprintf(&s, "published on %s: %d", topic, len(msgs))
	for i, m := range msgs {
		if i == shown {
			fmt.Fprintf(&s, "\n  … and %d more", len(msgs)-shown)
			break
		}
		fmt.Fprintf(&s, "\n  %d: key %q %+v", i, m.Key, m.Value)
	}
	for name, n := range b.tape.others(topic) {
		fmt.Fprintf(&s, "\npublished on %s: %d", name, n)
	}
	return s.String()
}
