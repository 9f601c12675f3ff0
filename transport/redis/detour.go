package redis

// fewBounces is how many times in a row a stream may be sent to another node before it goes on in a moment only: nodes may
// disagree for a while.
const fewBounces = 3

// homeLocked is the lane that a slot's streams belong to.
func (o *outbox) homeLocked(slot int) *lane {
	addr, detour := o.mu.detours[slot]
	if !detour {
		addr = o.topology.owner(slot)
	}
	return o.laneLocked(o.mu.refuges.at(addr))
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
		o.mu.detours[slot] = to
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
