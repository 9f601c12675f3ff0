package bustest

import (
	"fmt"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// Letter is a dead letter, typed.
type Letter[T any] struct {
	bus.Letter
	// Message is the event; its Value is zero if the payload can't be decoded.
	Message bus.Message[T]
	// Payload is the event as it came off the broker.
	Payload []byte
}

// DeadLettered returns the dead letters of a subscription of b, or of any with an empty name, for
// which all matches hold, the oldest first. The test's clean-up accepts what this function returns;
// the same holds for the functions below.
func DeadLettered[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string, matches ...Match[T]) []Letter[T] {
	t.Helper()
	q := newQuery(topic, matches, b.encodes(topic.Class))
	var found []Letter[T]
	for _, l := range letters(b, topic, subscription) {
		if q.holds(l.Message) {
			b.expect(l.Letter)
			found = append(found, l)
		}
	}
	return found
}

// RequireDeadLettered returns the first dead letter of a subscription of b, or of any with an empty
// name, for which all matches hold. It fails the test at once if there is none.
func RequireDeadLettered[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string, matches ...Match[T]) Letter[T] {
	t.Helper()
	for _, l := range letters(b, topic, subscription) {
		if newQuery(topic, matches, b.encodes(topic.Class)).holds(l.Message) {
			b.expect(l.Letter)
			return l
		}
	}
	t.Fatalf("bustest: no dead letter of %s/%s matches%s",
		topic.Name, anyName(subscription), lettersInstead(b, topic, subscription, matches))
	return Letter[T]{}
}

// WaitDeadLettered waits for a dead letter as RequireDeadLettered does, and fails the test if that
// takes longer than [WaitTimeout]. When it returns, the event may still count as running; after
// [WaitIdle] it does not.
func WaitDeadLettered[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], subscription string, matches ...Match[T]) Letter[T] {
	t.Helper()
	var found Letter[T]
	q := newQuery(topic, matches, b.encodes(topic.Class))
	if await(b.waitTimeout(), []source{b.mode, b.view}, func() bool {
		for _, l := range letters(b, topic, subscription) {
			if q.holds(l.Message) {
				found = l
				return true
			}
		}
		return false
	}) {
		b.expect(found.Letter)
		return found
	}
	t.Fatalf("bustest: no dead letter of %s/%s matches after %v%s",
		topic.Name, anyName(subscription), b.waitTimeout(), lettersInstead(b, topic, subscription, matches))
	return Letter[T]{}
}

// letters is all dead letters of the subscriptions of that name.
func letters[T any](b *Bus, topic bus.TopicConfig[T], subscription string) []Letter[T] {
	var all []Letter[T]
	for _, s := range b.Subscriptions() {
		if s.Topic() != topic.Name || subscription != "" && s.Name() != subscription {
			continue
		}
		for _, l := range b.lettersOf(s) {
			typed := Letter[T]{Letter: l}
			typed.Payload, _ = l.Delivery.Payload()
			m, err := bus.MessageOf[T](l.Delivery.Clone())
			if err != nil { // then it is what the event was given up for, or no matter
				m = bus.Message[T]{
					Topic: topic.Name, ID: l.Delivery.ID(), Key: l.Delivery.Key(), Time: l.Delivery.Time(),
					Attempt: l.Attempts, Headers: l.Delivery.Headers(),
				}
			}
			typed.Message = m
			all = append(all, typed)
		}
	}
	return all
}

// lettersInstead describes what was given up, and how the nearest differs.
func lettersInstead[T any](b *Bus, topic bus.TopicConfig[T], subscription string, matches []Match[T]) string {
	all := letters(b, topic, subscription)
	msgs := make([]bus.Message[T], len(all))
	causes := ""
	for i, l := range all {
		msgs[i] = l.Message
		if i < shown {
			causes += fmt.Sprintf("\n  %d: attempt %d of %s: %v", i, l.Attempts, l.Delivery.Subscription(), l.Err)
		}
	}
	if causes != "" {
		causes = "\ncauses:" + causes
	}
	return newQuery(topic, matches, b.encodes(topic.Class)).found("dead letters", msgs) + causes + b.ledgers(topic.Name, subscription)
}
