package publisher

import (
	"fmt"
	"sync"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// routes remembers where the partitions of topics lie that were published to, because that takes
// strings to build. It grows with the topics, as the channel queues do, until they are forgotten.
type routes struct {
	compact func(topic string) bool // Settings.Compact
	classes connkey.Classes

	mu sync.RWMutex
	// mu guards known.
	known map[router.Placement][]route
}

// route is a channel, its slot, and how events travel there.
type route struct {
	channel string
	slot    int
	class   connkey.Class
	compact bool
}

// encode appends an event's message, see wire.Append.
func (r route) encode(dst []byte, env *transport.Envelope, uncertain string) (doc []byte, seqAt int) {
	if r.compact {
		return wire.AppendCompact(dst, env, uncertain)
	}
	return wire.Append(dst, env, uncertain)
}

// of returns where an envelope goes.
func (r *routes) of(env *transport.Envelope) (route, error) {
	placement := router.Placement{Topic: env.Topic, Partitions: env.Partitions}
	r.mu.RLock()
	all, ok := r.known[placement]
	r.mu.RUnlock()
	if !ok {
		var err error
		if all, err = r.learn(placement); err != nil {
			return route{}, err
		}
	}
	if env.Partition < 0 || env.Partition >= len(all) {
		return route{}, fmt.Errorf("%w: there is no partition %d of %d", transport.ErrInvalidTopic, env.Partition, len(all))
	}
	return all[env.Partition], nil
}

// learn checks a placement and remembers it if it is valid.
func (r *routes) learn(placement router.Placement) ([]route, error) {
	if err := placement.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrInvalidTopic, err)
	}
	all := make([]route, placement.Len())
	class, compact := r.classes.Of(placement.Topic), r.compact(placement.Topic)
	for i := range all {
		all[i] = route{channel: placement.Channel(i), slot: placement.Slot(i), class: class, compact: compact}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[router.Placement][]route)
	}
	r.known[placement] = all
	return all, nil
}

// forget drops a placement. Who publishes there still learns it once more.
func (r *routes) forget(placement router.Placement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, placement)
}
