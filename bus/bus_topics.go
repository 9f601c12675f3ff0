package bus

import (
	"context"
	"slices"
	"strings"

	"github.com/shardbus/shardbus/transport"
)

// topicHandle is a Topic of any type, as the bus keeps it.
type topicHandle interface {
	topicInfo() *topicInfo
	Stats() TopicStats
	deliver(env *transport.Envelope)
	gap(g transport.Gap)
	mismatch(m transport.Mismatch)
	subscriptions() []*Subscription
	subscribeHeld(ctx context.Context) error
	lock()
	unlock()
	busyLocked() bool
	closeLoopback() leftOver
	abandonForeign()
}

// allTopics lists the topics in the order of their names: the order in which idle locks them.
func (b *Bus) allTopics() []topicHandle {
	var topics []topicHandle
	b.topics.Range(func(_, h any) bool {
		topics = append(topics, h.(topicHandle))
		return true
	})
	slices.SortFunc(topics, func(a, b topicHandle) int {
		return strings.Compare(a.topicInfo().name, b.topicInfo().name)
	})
	return topics
}

// subscriptions lists all that have not ended.
func (b *Bus) subscriptions() []*Subscription {
	var subs []*Subscription
	for _, t := range b.allTopics() {
		subs = append(subs, t.subscriptions()...)
	}
	// Last, since a subscription may move there meanwhile, but never back.
	seen := make(map[*Subscription]struct{}, len(subs))
	for _, s := range subs {
		seen[s] = struct{}{}
	}
	for _, s := range b.leaving() {
		if _, ok := seen[s]; !ok {
			subs = append(subs, s)
		}
	}
	return subs
}

// leaving lists the subscriptions that left their topic and have not ended.
func (b *Bus) leaving() []*Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := make([]*Subscription, 0, len(b.mu.ending))
	for s := range b.mu.ending {
		subs = append(subs, s)
	}
	return subs
}
