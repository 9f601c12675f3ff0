package bus

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// TopicInfo is what a bus knows of one of its topics.
type TopicInfo struct {
	Name       string `json:"name"`
	Type       string `json:"type"`                // of the events, as Go prints it
	TypeName   string `json:"type_name,omitzero"`  // as events bear it; empty for none
	Codec      string `json:"codec"`               // its name
	Partitions int    `json:"partitions,omitzero"` // 0 if it has none
	TopicStats `json:"stats"`
}

// Topics is the topics of the bus, in the order of their names, as they are when the loop begins.
// What is known of each is read when its turn comes.
func (b *Bus) Topics() iter.Seq[TopicInfo] {
	return func(yield func(TopicInfo) bool) {
		for _, t := range b.allTopics() {
			info := t.topicInfo()
			if !yield(TopicInfo{
				Name: info.name, Type: fmt.Sprint(info.typ), TypeName: info.typeName, Codec: info.codecName,
				Partitions: info.partitions, TopicStats: t.Stats(),
			}) {
				return
			}
		}
	}
}

// Subscriptions is all subscriptions that have not ended, in the order of their topics' names and
// then of their own, as they are when the loop begins.
func (b *Bus) Subscriptions() iter.Seq[*Subscription] {
	return func(yield func(*Subscription) bool) {
		subs := b.subscriptions()
		slices.SortStableFunc(subs, func(a, b *Subscription) int {
			if order := strings.Compare(a.Topic(), b.Topic()); order != 0 {
				return order
			}
			return strings.Compare(a.Name(), b.Name())
		})
		for _, s := range subs {
			if !yield(s) {
				return
			}
		}
	}
}
