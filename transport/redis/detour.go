package redis

import "time"

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

// endDetours ends those that led nowhere.
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
}

// endDetours ends those of all outboxes.
func (t *Transport) endDetours(now time.Time) {
	t.outbox.endDetours(now)
	for _, own := range t.dedicated {
		own.outbox.endDetours(now)
	}
}

// bounces reports whether a stream of which nothing is in flight any more is sent from one node to the other and back.
func (s *stream) bounces() bool {
	if !s.moved {
		return false
	}
	s.moved = false
	s.bounced++
	return s.bounced > fewBounces
}
