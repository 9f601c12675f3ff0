package redis

import (
	"context"
	"time"
)

// failedAt is what a child does that could not connect. A server that refuses who we are is left alone for a while, and
// says nothing about the topology.
func (t *Transport) failedAt(ctx context.Context, err error) {
	if !isRefusal(err) {
		t.topology.suspect()
		return
	}
	cool := time.NewTimer(coolDown())
	defer cool.Stop()
	select {
	case <-ctx.Done():
	case <-cool.C:
	}
}

// note notes what is wrong at addr, for who waits for channels there and gives up.
func (r *registry) note(addr string, err error) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.trouble[addr] = err
}

// unreachable notes why the server at addr cannot be reached, and tells those who wait for channels there if waiting
// does not help.
func (r *registry) unreachable(addr string, err error) {
	r.lock()
	defer r.mu.Unlock()
	r.mu.trouble[addr] = err
	if !isRefusal(err) {
		return
	}
	for slot := range r.mu.dirty[addr].all() {
		if r.ownerLocked(slot) != addr { // copies were wanted there: nobody waits for them
			continue
		}
		for ch := r.mu.bySlot.first(slot); ch != nil; ch = ch.next {
			ch.failLocked(err)
		}
	}
}

// why returns what keeps a topic from being live, if that is known.
func (r *registry) why(topic string) error {
	r.lock()
	defer r.mu.Unlock()
	state := r.mu.topics[topic]
	if state == nil {
		return nil
	}
	for _, ch := range state.channels {
		if ch.home != nil {
			continue
		}
		owner := r.ownerLocked(int(ch.slot))
		if owner == "" {
			return errNoOwner
		}
		if err := r.mu.trouble[owner]; err != nil {
			return err
		}
	}
	return nil
}
