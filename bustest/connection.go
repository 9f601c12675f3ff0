package bustest

import (
	"slices"

	"github.com/shardbus/shardbus/transport"
)

// Disconnect takes the bus's connection to the broker away until Reconnect. Its
// Publish fails with ErrDisconnected, its Subscribe waits, and what others publish
// does not reach it: each such event lies in a Gap{Lost, Disconnected} that its
// subscriptions are told of at Reconnect. What was in their mailboxes is handled.
func (b *Bus) Disconnect() {
	l := b.link
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	select {
	case <-l.up:
		l.up = make(chan struct{})
	default:
	}
}

// Reconnect gives the connection back, with all subscriptions. It tells of the gaps
// before it returns.
func (b *Bus) Reconnect() {
	l := b.link
	l.hub.mu.Lock()
	select {
	case <-l.up:
	default:
		close(l.up)
	}
	l.hub.mu.Unlock()
	l.tellMissed()
}

// Sever cuts two buses that share a broker off from each other until Heal: what one
// publishes does not reach the other, though Publish returns nil, and lies in a
// Gap{Lost, Disconnected} that subscriptions are told of at Heal. Others hear both.
func Sever(a, b *Bus) {
	a.t.Helper()
	switch {
	case a == b:
		a.t.Fatalf("bustest: Sever needs two buses; Disconnect takes one from its broker")
	case a.link.hub != b.link.hub:
		a.t.Fatalf("bustest: Sever needs buses on one broker, see SharedWith")
	}
	h := a.link.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	a.link.severLocked(b.ID())
	b.link.severLocked(a.ID())
}

// Heal ends Sever, and tells of the gaps before it returns.
func Heal(a, b *Bus) {
	h := a.link.hub
	h.mu.Lock()
	delete(a.link.severed, b.ID())
	delete(b.link.severed, a.ID())
	h.mu.Unlock()
	a.link.tellMissed()
	b.link.tellMissed()
}

// Crash ends the bus as the end of its process would: from one moment to the next
// nothing of it gets out and nothing gets in; nobody is told. What was held back by
// faults is lost without a Gap, since nobody knows of it. Its handlers' contexts
// end, and what was accepted and not settled is abandoned. It waits for handlers as
// Close does. Start its successor with New and [SharedWith].
func (b *Bus) Crash() {
	b.link.cut()
	// Its error says that handlers run on, which the clean-up will see for itself.
	_ = b.Close()
}

func (l *link) severLocked(publisher string) {
	if l.severed == nil {
		l.severed = make(map[string]struct{})
	}
	l.severed[publisher] = struct{}{}
}

// tellMissed reports what was missed and can be known by now.
func (l *link) tellMissed() {
	l.gate.RLock()
	defer l.gate.RUnlock()
	l.hub.mu.Lock()
	var told []transport.Gap
	if l.reachableLocked() == nil {
		l.missed = slices.DeleteFunc(l.missed, func(g transport.Gap) bool {
			_, severed := l.severed[g.Publisher]
			if !severed {
				told = append(told, g)
			}
			return !severed
		})
	}
	l.hub.mu.Unlock()
	if l.gate.sink == nil {
		return
	}
	for _, g := range told {
		l.gate.sink.Gap(g)
	}
}
