package bustest

import (
	"slices"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/transport"
)

// publication is an event that a bus has published.
type publication struct {
	topic string
	env   *transport.Envelope // given to the transport
	local *bus.Delivery       // or never encoded, on a bus InProcess
}

// delivery is the event as it arrives, of its own.
func delivery[T any](p publication, topic bus.TopicConfig[T]) *bus.Delivery {
	if p.local != nil {
		return p.local.Clone()
	}
	return encodedDelivery(&topic, numbered(p.env))
}

// encodedDelivery builds a delivery of an envelope for a *bus.TopicConfig.
func encodedDelivery(topic any, env *transport.Envelope) *bus.Delivery {
	return inspect.NewDelivery(topic, inspect.Delivery{Envelope: env, Subscription: "test", Attempt: 1}).(*bus.Delivery)
}

// numbered is env as it arrives. The broker may be numbering env itself right now: a fault can hold
// it back.
func numbered(env *transport.Envelope) *transport.Envelope {
	return &transport.Envelope{
		Topic: env.Topic, Partitions: env.Partitions, Partition: env.Partition, Publisher: env.Publisher, ID: env.ID, Seq: 1,
		Key: env.Key, Time: env.Time, Headers: env.Headers, ContentType: env.ContentType, Payload: env.Payload, Malformed: env.Malformed,
	}
}

// publications is all that a bus has published.
type publications struct {
	// mu is taken inside other locks, and nothing inside it.
	mu struct {
		sync.Mutex
		all []publication // in order
	}
}

// keep records envelopes that are being published.
func (p *publications) keep(envs []*transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, env := range envs {
		p.mu.all = append(p.mu.all, publication{topic: env.Topic, env: env})
	}
}

// add records an event.
func (p *publications) add(event publication) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.all = append(p.mu.all, event)
}

// erase takes off again what was refused.
func (p *publications) erase(env *transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.mu.all) - 1; i >= 0; i-- {
		if p.mu.all[i].env == env {
			p.mu.all = append(p.mu.all[:i:i], p.mu.all[i+1:]...)
			return
		}
	}
}

// on returns what was published on a topic, in order.
func (p *publications) on(topic string) []publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.mu.all), func(p publication) bool { return p.topic != topic })
}

// others counts what was published on other topics.
func (p *publications) others(topic string) map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts := make(map[string]int)
	for _, p := range p.mu.all {
		if p.topic != topic {
			counts[p.topic]++
		}
	}
	return counts
}

// decodeAll fails the test if it can't decode one.
func decodeAll[T any](t testing.TB, topic bus.TopicConfig[T], all []publication) []bus.Message[T] {
	t.Helper()
	msgs := make([]bus.Message[T], 0, len(all))
	for i, p := range all {
		m, err := bus.MessageOf[T](delivery(p, topic))
		if err != nil {
			t.Fatalf("bustest: event %d of topic %s: %v", i, topic.Name, err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}
