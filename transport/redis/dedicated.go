package redis

import (
	"context"
	"sync"

	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// A dedicated topic is carried by a transport within the transport, which has everything of its own: connections, queues,
// what is remembered for repair, subscriptions. It shares what says where the servers are and who we are.

// dedicate builds the transports of the dedicated topics.
func (t *Transport) dedicate() {
	for name, topic := range t.cfg.Topics {
		if !topic.Dedicated {
			continue
		}
		own := &Transport{cfg: t.cfg, log: t.log, closed: make(chan struct{}), topology: t.topology, only: name}
		own.build()
		if t.dedicated == nil {
			t.dedicated = make(map[string]*Transport)
		}
		t.dedicated[name] = own
	}
}

// of returns the transport that carries a topic.
func (t *Transport) of(topic string) *Transport {
	if own := t.dedicated[topic]; own != nil {
		return own
	}
	return t
}

// children are the supervisor's children for the dedicated topics.
func (t *Transport) children(sink transport.Sink) []supervisor.Child {
	children := make([]supervisor.Child, 0, len(t.dedicated))
	for name, own := range t.dedicated {
		children = append(children, supervisor.Child{
			Name: "topic " + name, Grace: supervisor.Forever, Backoff: restartBackoff, Tree: own.Tree,
			Serve: func(ctx context.Context) error { return own.Serve(ctx, sink) },
		})
	}
	return children
}

// publishApart publishes events of dedicated topics by their transports, and the others by this one, all at once. It
// reports false, having done nothing, if all are this one's.
func (t *Transport) publishDedicated(ctx context.Context, envs []*transport.Envelope, results []transport.Result) bool {
	shares := make(map[*Transport][]int)
	for i, env := range envs {
		carrier := t.of(env.Topic)
		shares[carrier] = append(shares[carrier], i)
	}
	if len(shares[t]) == len(envs) {
		return false
	}
	var running sync.WaitGroup
	for carrier, indices := range shares {
		if len(shares) == 1 {
			carrier.publisher.Publish(ctx, envs, results)
			return true
		}
		running.Go(func() {
			part, fates := make([]*transport.Envelope, len(indices)), make([]transport.Result, len(indices))
			for i, at := range indices {
				part[i] = envs[at]
			}
			carrier.publisher.Publish(ctx, part, fates)
			for i, at := range indices {
				results[at] = fates[i]
			}
		})
	}
	running.Wait()
	return true
}
