package fakecluster

import (
	"cmp"
	"maps"
	"slices"

	"github.com/shardbus/shardbus/router"
)

// message is what was published.
type message struct {
	shard            bool // by SPUBLISH
	channel, payload string
}

// deliverLocked gives a message to the subscribers at this node, and returns how many there are.
func (n *Node) deliverLocked(m message) int {
	kind := "message"
	if m.shard {
		kind = "smessage"
	}
	count := 0
	for cl := range n.clients {
		if subscribed := m.shard && cl.shard[m.channel] || !m.shard && cl.normal[m.channel]; !subscribed {
			continue
		}
		count++
		cl.pushLocked(func(r *reply) {
			r.push(3)
			r.bulk(kind)
			r.bulk(m.channel)
			r.bulk(m.payload)
		})
	}
	return count
}

// publish delivers a message at this node and, over the cluster bus, at those that should have it too: for SPUBLISH the
// others of this node's shard, for PUBLISH all. It returns the number of subscribers at this node, as Redis does.
func (n *Node) publish(m message) int {
	c := n.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if !n.up {
		return 0
	}
	others := c.nodes
	if m.shard {
		others = nil
		if s, _ := n.view.home(n); s != nil {
			others = s.members()
		}
	}
	for _, other := range others {
		switch {
		case other == n || n.isolated || other.isolated || !other.up:
		case other.paused:
			other.backlog = append(other.backlog, m)
		default:
			other.deliverLocked(m)
		}
	}
	return n.deliverLocked(m)
}

// dropChannelsLocked ends the subscriptions to the channels of some slots, with a "sunsubscribe" that nobody asked for.
func (n *Node) dropChannelsLocked(gone func(slot int) bool) {
	clients := slices.SortedFunc(maps.Keys(n.clients), func(a, b *client) int { return cmp.Compare(a.id, b.id) })
	for _, cl := range clients {
		for _, channel := range slices.Sorted(maps.Keys(cl.shard)) {
			if !gone(router.Slot(channel)) {
				continue
			}
			delete(cl.shard, channel)
			left := len(cl.shard)
			cl.pushLocked(func(r *reply) {
				r.push(3)
				r.bulk("sunsubscribe")
				r.bulk(channel)
				r.int(left)
			})
		}
		cl.out.bound(len(cl.shard)+len(cl.normal) > 0)
	}
}
