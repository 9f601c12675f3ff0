package redis

// registry.mu.unconfirmed is kept as channels change, so that asking for the transport's health costs nothing while all is
// well. So whoever changes how many want a channel, or where it is confirmed, does it here.

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
	switch unconfirmed := ch.users > 0 && ch.home == nil; {
	case unconfirmed && !ch.counted:
		r.mu.unconfirmed++
		ch.counted = true
	case !unconfirmed && ch.counted:
		r.mu.unconfirmed--
		ch.counted = false
	}
}

// unconfirmed counts the channels that are wanted and not live where they belong, by the address that owns them.
func (r *registry) unconfirmed() map[string]int {
	r.lock()
	defer r.mu.Unlock()
	if r.mu.unconfirmed == 0 {
		return nil
	}
	var counts map[string]int
	for _, ch := range r.mu.channels {
		if !ch.counted {
			continue
		}
		if counts == nil {
			counts = make(map[string]int)
		}
		counts[r.ownerLocked(int(ch.slot))]++
	}
	return counts
}
