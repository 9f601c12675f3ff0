package bustest

import (
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// Handled returns the events that a subscription of b, or any with an empty name, has acknowledged
// and for which all matches hold, in the order in which their handling began. The attempt of each
// is the one that succeeded. An event that can't be decoded fails the test at once.
func Handled[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string, matches ...Match[T]) []bus.Message[T] {
	t.Helper()
	return newQuery(topic, matches, b.encodes(topic.Class)).filter(handled(t, b, topic, subscription))
}

// RequireHandled returns the first event that a subscription of b, or any with an empty name, has
// acknowledged and for which all matches hold. It fails the test at once if there is none. An event
// whose handler still runs is not there: call [WaitIdle] or [WaitHandled] first.
func RequireHandled[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string, matches ...Match[T]) bus.Message[T] {
	t.Helper()
	q, msgs := newQuery(topic, matches, b.encodes(topic.Class)), handled(t, b, topic, subscription)
	found := q.filter(msgs)
	if len(found) == 0 {
		t.Fatalf("bustest: nothing handled by %s/%s matches%s%s",
			topic.Name, anyName(subscription), q.found("handled", msgs), b.ledgers(topic.Name, subscription))
		return bus.Message[T]{}
	}
	return found[0]
}

func handled[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string) []bus.Message[T] {
	t.Helper()
	var msgs []bus.Message[T]
	for _, a := range b.attemptsAt(topic.Name, subscription) {
		if a.err != nil {
			continue
		}
		m, err := bus.MessageOf[T](a.d)
		if err != nil {
			t.Fatalf("bustest: an event handled by %s/%s: %v", topic.Name, a.d.Subscription(), err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

// anyName is a subscription's name as failures show it.
func anyName(subscription string) string {
	if subscription == "" {
		return "*"
	}
	return subscription
}

// ledgers lists those of subscriptions by topic and name, any with an empty name.
func (b *Bus) ledgers(topic, name string) (text string) {
	for _, s := range b.Subscriptions() {
		if s.Topic() == topic && (name == "" || s.Name() == name) {
			text += "\nledger of " + s.Topic() + "/" + s.Name() + ": " + s.Stats().String()
		}
	}
	if text == "" {
		text = "\nnobody subscribed" + b.subscriptionList()
	}
	return text
}
