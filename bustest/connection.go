package bustest

import (
	"slices"
	"strings"

	"github.com/shardbus/shardbus/transport"
)

// Disconnect takes the bus's connection to the broker away until Reconnect. Its Publish fails with
// ErrDisconnected, its Subscribe waits, and events of others do not reach it: each such event is in
// a Gap{Lost, Disconnected} that its subscriptions get at Reconnect. Events in their mailboxes are
// handled.
func (b *Bus) Disconnect() {
	b.t.Helper()
	l := b.needTransport("Disconnect")
	if l == nil {
		return
	}
	l.broker.mu.Lock()
	defer l.broker.mu.Unlock()
	l.down = true
}

// Reconnect gives the connection back, with all subscriptions. It reports the gaps before it
// returns.
func (b *Bus) Reconnect() {
	b.t.Helper()
	l := b.needTransport("Reconnect")
	if l == nil {
		return
	}
	l.broker.mu.Lock()
	l.down = false
	l.broker.mu.Unlock()
	l.broker.changes.Notify()
	l.tellMissed()
}

// Sever cuts two buses that share a broker off from each other until Heal. What one publishes does
// not reach the other, though Publish returns nil: it is in a Gap{Lost, Disconnected} that
// subscriptions get at Heal. Other buses hear both.
func Sever(a, b *Bus) {
	a.t.Helper()
	switch {
	case a.needTransport("Sever") == nil || b.needTransport("Sever") == nil:
		return
	case a == b:
		a.t.Fatalf("bustest: Sever needs two buses; Disconnect takes one from its broker")
	case a.transport.broker != b.transport.broker:
		a.t.Fatalf("bustest: Sever needs buses on one broker, see SharedWith")
	}
	h := a.transport.broker
	h.mu.Lock()
	defer h.mu.Unlock()
	a.transport.severLocked(b.ID())
	b.transport.severLocked(a.ID())
}

// Heal ends Sever, and reports the gaps before it returns.
func Heal(a, b *Bus) {
	a.t.Helper()
	if a.needTransport("Heal") == nil || b.needTransport("Heal") == nil {
		return
	}
	h := a.transport.broker
	h.mu.Lock()
	delete(a.transport.severed, b.ID())
	delete(b.transport.severed, a.ID())
	h.mu.Unlock()
	a.transport.tellMissed()
	b.transport.tellMissed()
}

// Crash ends the bus as the end of its process would: at once nothing of it gets out and nothing
// gets in, and the others learn nothing. Events held back by faults are lost without a Gap, since
// nobody knows of them. Its handlers' contexts end, and events that were accepted and not settled
// are abandoned. The log of durable topics learns nothing more of it, either: what was being handled, and
// outcomes of the last milliseconds, come again. It waits for handlers as Close does. Start its successor
// with New and [RestartOf], or [SharedWith].
func (b *Bus) Crash() {
	b.t.Helper()
	if b.store != nil {
		_ = b.store.Close() // a log in memory has no error
	}
	b.mode.cut()
	// Its error says that handlers run on, which the clean-up will see for itself.
	_ = b.Close()
}

func (l *faultTransport) severLocked(bus string) {
	if l.severed == nil {
		l.severed = make(map[string]struct{})
	}
	l.severed[bus] = struct{}{}
}

// isSeveredLocked reports whether a publisher is not heard: a bus, or what it calls itself on a topic
// that it has made again.
func (l *faultTransport) isSeveredLocked(publisher string) bool {
	bus, _, _ := strings.Cut(publisher, ".")
	_, severed := l.severed[bus]
	return severed
}

// tellMissed reports what was missed and can be known by now.
func (l *faultTransport) tellMissed() {
	l.gate.RLock()
	defer l.gate.RUnlock()
	l.broker.mu.Lock()
	var told []transport.Gap
	if l.reachableLocked() == nil {
		l.missed = slices.DeleteFunc(l.missed, func(g transport.Gap) bool {
			severed := l.isSeveredLocked(g.Publisher)
			if !severed {
				told = append(told, g)
			}
			return !severed
		})
	}
	l.broker.mu.Unlock()
	if l.gate.sink == nil {
		return
	}
	for _, g := range told {
		l.gate.sink.Gap(g)
	}
}
