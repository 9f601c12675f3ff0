// Package connkey names the connections of a transport. For each key, a node and a class, there is
// one to publish and one to subscribe, with queues of their own.
package connkey

import (
	"iter"
	"slices"

	"github.com/shardbus/shardbus/router"
)

// Class says whose connections carry a topic: those that most topics share, or a dedicated topic's
// own.
type Class uint32

// Ordinary is the class of all topics that are not dedicated, and of control messages.
const Ordinary Class = 0

// Key is a node and a class.
type Key struct {
	Addr  string
	Class Class
}

// Classes are the classes of one transport. The zero value has only Ordinary. They never change.
type Classes struct {
	topics  []string // dedicated, in order: that of class 1 first
	byTopic map[string]Class
}

// NewClasses returns Ordinary and a class for each dedicated topic.
func NewClasses(dedicated ...string) Classes {
	c := Classes{topics: slices.Sorted(slices.Values(dedicated)), byTopic: make(map[string]Class)}
	for i, topic := range c.topics {
		c.byTopic[topic] = Class(i) + 1 //nolint:gosec // nobody has 2³² topics
	}
	return c
}

// Len is how many classes there are.
func (c *Classes) Len() int { return 1 + len(c.topics) }

// All yields the classes, Ordinary first.
func (c *Classes) All() iter.Seq[Class] {
	return func(yield func(Class) bool) {
		for i := range c.Len() {
			if !yield(Class(i)) { //nolint:gosec // see NewClasses
				return
			}
		}
	}
}

// Of returns the class of a topic.
func (c *Classes) Of(topic string) Class { return c.byTopic[topic] }

// OfChannel returns the class of the topic that a channel carries.
func (c *Classes) OfChannel(channel string) Class {
	if len(c.topics) == 0 {
		return Ordinary
	}
	if topic, _, ok := router.ParseChannel(channel); ok {
		return c.Of(topic)
	}
	return c.Of(channel)
}

// Topic returns the topic of a class; empty for Ordinary.
func (c *Classes) Topic(class Class) string {
	if class == Ordinary {
		return ""
	}
	return c.topics[class-1]
}
