package bustest

import (
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// Published returns everything that b has published on the topic so far and for which all matches
// hold, in order, decoded by the topic's codec. What its Publish refused is not there; later faults
// change nothing. An event that can't be decoded fails the test at once.
func Published[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) []bus.Message[T] {
	t.Helper()
	return newQuery(topic, matches, b.encodes(topic.Class)).filter(published(t, b, topic))
}

// RequirePublished returns the first message that b published on the topic and for which all
// matches hold; without matches, any message. It fails the test at once if there is none.
func RequirePublished[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) bus.Message[T] {
	t.Helper()
	q, msgs := newQuery(topic, matches, b.encodes(topic.Class)), published(t, b, topic)
	found := q.filter(msgs)
	if len(found) == 0 {
		t.Fatalf("bustest: nothing published on %s matches%s%s", topic.Name, q.instead(b, msgs), b.early())
		return bus.Message[T]{}
	}
	return found[0]
}

// RequirePublishedOnce is RequirePublished; it also fails the test at once if there is more than
// one such message.
func RequirePublishedOnce[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) bus.Message[T] {
	t.Helper()
	q, msgs := newQuery(topic, matches, b.encodes(topic.Class)), published(t, b, topic)
	switch found := q.filter(msgs); len(found) {
	case 0:
		t.Fatalf("bustest: nothing published on %s matches%s%s", topic.Name, q.instead(b, msgs), b.early())
	case 1:
		return found[0]
	default:
		t.Fatalf("bustest: %d messages published on %s match, and one was expected%s", len(found), topic.Name, q.marked(msgs))
	}
	return bus.Message[T]{}
}

// RequireNotPublished fails the test at once if b published a message on the topic for which all
// matches hold; without matches, if it published any. It says nothing about later messages: call
// [WaitIdle] first.
func RequireNotPublished[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) {
	t.Helper()
	q, msgs := newQuery(topic, matches, b.encodes(topic.Class)), published(t, b, topic)
	for i, m := range msgs {
		if q.holds(m) {
			t.Fatalf("bustest: message %d published on %s matches, and none was expected%s", i, topic.Name, q.marked(msgs))
			return
		}
	}
}

// WaitPublished waits until b has published a message on the topic for which all matches hold, and
// returns the first. It fails the test if that takes longer than [WaitTimeout].
func WaitPublished[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) bus.Message[T] {
	t.Helper()
	q := newQuery(topic, matches, b.encodes(topic.Class))
	var msgs, found []bus.Message[T]
	if !await(b.waitTimeout(), []source{b.mode}, func() bool {
		msgs = published(t, b, topic)
		found = q.filter(msgs)
		return len(found) > 0
	}) {
		t.Fatalf("bustest: nothing published on %s matches after %v%s", topic.Name, b.waitTimeout(), q.instead(b, msgs))
		return bus.Message[T]{}
	}
	return found[0]
}

// early says so if the test looks before the handlers are done.
func (b *Bus) early() string {
	if pending := describePending(b.mode.members()); pending != "" {
		return "\nhandlers were not done yet (WaitIdle and WaitPublished wait for them):" + pending
	}
	return ""
}

// published is all that b published on the topic.
func published[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T]) []bus.Message[T] {
	t.Helper()
	return decodeAll(t, topic, b.published.on(topic.Name))
}
