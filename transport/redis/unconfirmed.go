package redis

// subscriptions.mu.unconfirmed is kept as channels change, so that asking for the transport's health looks only at what is
// not well. So whoever changes how many want a channel, or where it is confirmed, does it here.

// setRefsLocked notes how many topics want a channel.
func (r *subscriptions) setRefsLocked(ch *channel, users int32) {
	ch.refs = users
	r.countLocked(ch)
}

// setConfirmedOnLocked notes where a channel is confirmed; nil: nowhere.
func (r *subscriptions) setConfirmedOnLocked(ch *channel, home *session) {
	ch.confirmedOn = home
	r.countLocked(ch)
}

func (r *subscriptions) countLocked(ch *channel) {
	switch {
	case ch.refs == 0 || ch.confirmedOn != nil:
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
func (r *subscriptions) unconfirmed() map[string]int {
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
