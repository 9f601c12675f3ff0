package bustest

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// A fault is set on a bus for the next n events that this bus publishes on a topic,
// "" standing for any. Several may be set: an event is met by the first that is not
// used up, and by one only. Faults counts what they did.

// DropNext loses the next n events between the broker and their subscribers: Publish
// returns nil, and each subscription gets a Gap{Lost, Unknown} in place of each
// event. A real broker's subscriber learns of it from the next event that arrives.
func (b *Bus) DropNext(topic string, n int) {
	b.t.Helper()
	b.set("DropNext", &fault{kind: dropping, topic: topic, left: n})
}

// Duplicate publishes the next n events twice, as a publisher does that got no
// answer and tries again: the copy has the event's ID and a number of its own, and
// subscriptions accept both. Dedup, or a handler that can be repeated, is the
// answer to it.
func (b *Bus) Duplicate(topic string, n int) {
	b.t.Helper()
	b.set("Duplicate", &fault{kind: duplicating, topic: topic, left: n})
}

// Reorder holds the next n events back until the last of them is published, and
// lets them arrive in the reverse order. Publish returns nil at once. It is what
// publishers in different processes, and repeated publishes, do to order: events
// keep the order of their numbers, which are given as they are written. Nothing is
// lost; what is held when the bus ends is lost with it.
func (b *Bus) Reorder(topic string, n int) {
	b.t.Helper()
	b.set("Reorder", &fault{kind: reordering, topic: topic, left: n})
}

// Delay lets the next n events arrive d later, in order. Publish returns nil at
// once. In a bubble it is virtual time. What is held when the bus ends is lost with
// it.
func (b *Bus) Delay(topic string, n int, d time.Duration) {
	b.t.Helper()
	b.set("Delay", &fault{kind: delaying, topic: topic, left: n, delay: d})
}

// FailPublish has Publish fail for the next n events with an error that wraps err.
// They get no number and reach nobody: there is no Gap.
func (b *Bus) FailPublish(topic string, n int, err error) {
	b.t.Helper()
	b.set("FailPublish", &fault{kind: failing, topic: topic, left: n, err: err})
}

// LoseReply has Publish fail for the next n events with an error that wraps err
// though they arrive: the broker's answer was lost. A publisher that tries again
// repeats them.
func (b *Bus) LoseReply(topic string, n int, err error) {
	b.t.Helper()
	b.set("LoseReply", &fault{kind: losingReply, topic: topic, left: n, err: err})
}

// Inject publishes env as it is, as if from outside: no fault meets it, and it does
// not count as published by b. b owns env afterwards. An envelope that no broker
// takes fails the test at once.
func (b *Bus) Inject(env *transport.Envelope) {
	b.t.Helper()
	l := b.needTransport("Inject")
	switch {
	case l == nil:
		return
	case env == nil:
		b.t.Fatalf("bustest: Inject was given a nil envelope")
	}
	l.broker.mu.Lock()
	l.count.Injected++
	l.broker.mu.Unlock()
	if r := l.write(l.ctx, env); r.Err != nil {
		b.t.Fatalf("bustest: %v", r.Err)
	}
}

// Poison publishes bytes as a foreign client would that knows nothing of the topic: no
// publisher, no ID, no key. What the topic's codec can't decode becomes a dead
// letter with these bytes at each subscription.
func (b *Bus) Poison(topic string, payload []byte) {
	b.t.Helper()
	if b.needTransport("Poison") == nil {
		return
	}
	b.Inject(&transport.Envelope{Topic: topic, Payload: payload, Time: time.Now()})
}

// Redeliver publishes again what b published on the topic so far and all matches
// hold for, in order, and returns how many events those are. The copies have the
// events' IDs and numbers of their own, and subscriptions accept them like others;
// no fault meets them.
func Redeliver[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) int {
	t.Helper()
	l := b.needTransport("Redeliver")
	if l == nil {
		return 0
	}
	n, q := 0, newQuery(topic, matches, true)
	all := b.published.on(topic.Name)
	for i, m := range decodeAll(t, topic, all) {
		if !q.holds(m) {
			continue
		}
		again := *all[i].env
		l.broker.mu.Lock()
		l.count.Redelivered++
		l.broker.mu.Unlock()
		l.write(l.ctx, &again)
		n++
	}
	return n
}
