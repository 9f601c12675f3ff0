package redis

import (
	"fmt"
	"time"
)

// fewBounces is how many times in a row a stream may be sent to another node before it goes on in a moment only: nodes may
// disagree for a while.
const fewBounces = 3

// detourInVain is how long a detour holds to a node that nobody is connected to. It is a new primary, which the next
// snapshot has; or the slot was back before anybody asked, and there is no other snapshot.
const detourInVain = 250 * time.Millisecond

// detour is where a node said that a slot is.
type detour struct {
	to    string
	since time.Time
}

// homeLocked is the lane that a slot's streams belong to.
func (o *outbox) homeLocked(slot int) *lane {
	d, is := o.mu.detours[slot]
	if !is {
		d.to = o.topology.owner(slot)
	}
	return o.laneLocked(o.mu.refuges.at(d.to))
}

// redirectLocked notes that the node of l said that a slot is elsewhere, until the next snapshot.
//
// Several pipelines are under way, so that it may say so still when the snapshot knows, or knows better. What it says then
// must not count: it would hold for as long as nothing else changes.
func (o *outbox) redirectLocked(l *lane, slot int, to string) {
	switch {
	case to == "" || o.homeLocked(slot) != l:
	case to == o.topology.owner(slot):
		delete(o.mu.detours, slot)
	default:
		o.mu.detours[slot] = detour{to: to, since: time.Now()}
	}
}

// endDetours ends those that led nowhere, and the rests of streams that were sent around in circles.
func (o *outbox) endDetours(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for slot, d := range o.mu.detours {
		if o.laneLocked(d.to).writers > 0 || now.Sub(d.since) < detourInVain {
			continue
		}
		delete(o.mu.detours, slot)
		for _, s := range o.mu.bySlot[slot] {
			o.goHomeLocked(s)
		}
	}
	for s := range o.mu.resting {
		if !now.Before(s.rest) {
			o.wakeLocked(s)
		}
	}
}

// wakeLocked ends the rest of a stream.
func (o *outbox) wakeLocked(s *stream) {
	delete(o.mu.resting, s)
	s.rest = time.Time{}
	s.lane.enlist(s)
}

// endDetours ends those of all outboxes.
func (t *Transport) endDetours(now time.Time) {
	t.outbox.endDetours(now)
	for _, own := range t.dedicated {
		own.outbox.endDetours(now)
	}
}

// bounces returns for how long a stream of which nothing is in flight any more is to be left alone because nodes send it
// from one to the other and back, or to themselves: longer each time, so that nodes that never agree are not run hot.
func (s *stream) bounces() time.Duration {
	if !s.moved {
		return 0
	}
	s.moved = false
	s.bounced++
	if s.bounced <= fewBounces {
		return 0
	}
	return min(stirEvery<<min(s.bounced-fewBounces-1, 16), longestRest)
}

// longestRest is for how long a stream is left alone at most. A new topology ends it.
const longestRest = 250 * time.Millisecond

// wrongWay says what is wrong with a MOVED from the node at addr, in words for who cannot publish or subscribe. Empty: it
// names another node of the topology, as it should.
func (t *topology) wrongWay(err error, addr string) string {
	if classifyReply(err) != replyMoved {
		return ""
	}
	to, ok := movedTarget(err, addr)
	if !ok {
		return "it names no address to go to: see CLUSTER SLOTS there"
	}
	if to == addr {
		return "it sends us to itself: see CLUSTER SLOTS there, and whether its address is that of one server"
	}
	if _, known := t.snapshot.Load().NodeShard(to); !known {
		return "it sends us to " + to + ", which no node has named: see CLUSTER SLOTS there, and cluster-announce-ip or hostname"
	}
	return ""
}

// explainMoved adds to a MOVED from the node at addr what is wrong with it.
func (t *topology) explainMoved(err error, addr string) error {
	if wrong := t.wrongWay(err, addr); wrong != "" {
		return fmt.Errorf("%w: %s", err, wrong)
	}
	return err
}
