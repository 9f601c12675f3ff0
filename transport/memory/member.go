package memory

import (
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// member is a transport that is subscribed to a channel. The channel's lock guards it.
type member struct {
	*Transport
	// missed is what was published while nothing reached it, by publisher: one range each, since
	// the numbers of a channel have no holes. Nil: nothing.
	missed map[string]*transport.Gap
}

// deliver passes env to the bus, after the gaps that the bus has not heard of yet. If nothing
// reaches the bus, it notes that env was missed, and returns false.
func (m *member) deliver(env *transport.Envelope) bool {
	m.gate.RLock()
	defer m.gate.RUnlock()
	if !m.hearsLocked() {
		m.miss(env)
		return false
	}
	m.tell()
	m.gate.sink.Deliver(env)
	return true
}

func (m *member) miss(env *transport.Envelope) {
	g := m.missed[env.Publisher]
	if g == nil {
		g = &transport.Gap{
			Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher,
			From: env.Seq, Since: time.Now(), Kind: transport.Lost, Reason: transport.Disconnected,
		}
		if m.missed == nil {
			m.missed = make(map[string]*transport.Gap)
		}
		m.missed[env.Publisher] = g
	}
	g.To = env.Seq
	g.Count++
}

// tell reports what was missed. The caller holds the gate of a member that hears.
func (m *member) tell() {
	if m.missed == nil {
		return
	}
	for _, publisher := range slices.Sorted(maps.Keys(m.missed)) {
		m.gate.sink.Gap(*m.missed[publisher])
	}
	m.missed = nil
}

// hearsLocked reports whether what arrives reaches the bus. The caller holds the gate.
func (t *Transport) hearsLocked() bool { return t.gate.sink != nil && t.cuts.Load() == 0 }

// confessLocked reports what t has missed, if anybody hears it.
func (c *channel) confessLocked(t *Transport) {
	for _, m := range c.mu.members {
		if m.Transport != t {
			continue
		}
		m.gate.RLock()
		if m.hearsLocked() {
			m.tell()
		}
		m.gate.RUnlock()
	}
}
