package memory

import (
	"sync"

	"github.com/shardbus/shardbus/transport"
)

// views is who knows a topic how: by it transports are told of peers that know a topic otherwise,
// which on a broker of channels they would never meet.
type views struct {
	mu     sync.Mutex
	topics map[string]*parties // by name
}

// parties are those of one topic.
type parties struct {
	publishers  map[string]view // by incarnation
	subscribers map[*Transport]transport.Topic
}

// view is a topic as the publisher of a transport knows it.
type view struct {
	*Transport
	topic transport.Topic
}

// partiesLocked finds or makes those of a topic.
func (v *views) partiesLocked(topic string) *parties {
	p := v.topics[topic]
	if p == nil {
		p = &parties{publishers: make(map[string]view), subscribers: make(map[*Transport]transport.Topic)}
		if v.topics == nil {
			v.topics = make(map[string]*parties)
		}
		v.topics[topic] = p
	}
	return p
}

// publishes notes how the publisher of env, on t, knows its topic, and tells those that know it
// otherwise.
func (v *views) publishes(t *Transport, env *transport.Envelope) {
	topic := transport.Topic{Name: env.Topic, Partitions: env.Partitions, ContentType: env.ContentType, TypeName: env.TypeName}
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.partiesLocked(env.Topic)
	p.publishers[env.Publisher] = view{t, topic}
	for subscriber, there := range p.subscribers {
		disagree(t, env.Publisher, topic, subscriber, there)
	}
}

// subscribes does so for t, which subscribes.
func (v *views) subscribes(t *Transport, topic transport.Topic) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.partiesLocked(topic.Name)
	p.subscribers[t] = topic
	for publisher, its := range p.publishers {
		disagree(its.Transport, publisher, its.topic, t, topic)
	}
}

func (v *views) unsubscribes(t *Transport, topic string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.topics[topic]; p != nil {
		delete(p.subscribers, t)
		v.dropLocked(topic, p)
	}
}

// forgets forgets how a publisher knew a topic, unless it knows it otherwise by now.
func (v *views) forgets(topic transport.Topic, publisher string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.topics[topic.Name]; p != nil && p.publishers[publisher].topic.Partitions == topic.Partitions {
		delete(p.publishers, publisher)
		v.dropLocked(topic.Name, p)
	}
}

// dropLocked drops the parties of a topic if there are none.
func (v *views) dropLocked(topic string, p *parties) {
	if len(p.publishers)+len(p.subscribers) == 0 {
		delete(v.topics, topic)
	}
}

// leaves forgets the publishers of t.
func (v *views) leaves(t *Transport) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for name, p := range v.topics {
		for publisher, its := range p.publishers {
			if its.Transport == t {
				delete(p.publishers, publisher)
			}
		}
		v.dropLocked(name, p)
	}
}

// disagree tells both sides, if they do.
func disagree(from *Transport, publisher string, published transport.Topic, to *Transport, subscribed transport.Topic) {
	if published.Differs(subscribed) == "" {
		return
	}
	to.tellMismatch(transport.Mismatch{Peer: publisher, Here: subscribed, There: published})
	from.tellMismatch(transport.Mismatch{Peer: to.name, Subscribes: true, Here: published, There: subscribed})
}

// repeat tells t what it may not have heard, because no Serve ran or it was severed.
func (v *views) repeat(t *Transport) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range v.topics {
		for publisher, its := range p.publishers {
			for subscriber, topic := range p.subscribers {
				if its.Transport == t || subscriber == t {
					disagree(its.Transport, publisher, its.topic, subscriber, topic)
				}
			}
		}
	}
}

// tellMismatch does nothing while nothing reaches the bus; see repeat.
func (t *Transport) tellMismatch(m transport.Mismatch) {
	t.gate.RLock()
	defer t.gate.RUnlock()
	if sink, ok := t.gate.sink.(transport.MismatchSink); ok && t.hearsLocked() {
		sink.Mismatch(m)
	}
}
