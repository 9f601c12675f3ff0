package redis

// registry.mu.unconfirmed is kept as channels change, so that asking for the transport's health looks only at what is
// not well. So whoever changes how many want a channel, or where it is confirmed, does it here.

// setUsersLocked notes how many topics want a channel.
func (r *registry) setUsersLocked(ch *channel, users int32) {
	ch.users = users
	r.countLocked(ch)
}

// setHomeLocked notes where a channel is confirmed; nil: nowhere.
func (r *registry) setHomeLocked(ch *channel, home *feed) {
	ch.home = home
	r.countLocked(ch)
}

func (r *registry) countLocked(ch *channel) {
	switch {
	case ch.users == 0 || ch.home != nil:
		if delete(r.mu.unconfirmed, ch); len(r.mu.unconfirmed) == 0 {
			r.mu.unconfirmed = nil // after thousands it would stay as large
		}
	case r.mu.unconfirmed == nil:
		r.mu.unconfirmed = map[*channel]struct{}{ch: {}}
	default:
		r.mu.unconfirmed[ch] = struct{}{}
	}
}

// unconfirmed counts the channels that are wanted and not live where they belong, by the address that owns them.
func (r *registry) unconfirmed() map[string]int {
	r.lock()
	defer r.mu.Unlock()
	if len(r.mu.unconfirmed) == 0 {
		return nil
	}
	counts := make(map[string]int)
	for ch := range r.mu.unconfirmed {
		counts[r.ownerLocked(int(ch.slot))]++
	}
	return counts
}
