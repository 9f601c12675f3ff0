package fakecluster

import (
	"slices"

	"github.com/shardbus/shardbus/router"
)

// MigrateSlot gives a slot with all of its keys to another primary.
func (c *Cluster) MigrateSlot(slot int, to *Node) {
	c.t.Helper()
	if m := c.BeginMigration(slot, to); m != nil {
		m.MoveKeys(-1)
		m.Finish()
	}
}

// MigrateSlots is MigrateSlot for all slots of a range, ends included, at one moment.
func (c *Cluster) MigrateSlots(from, last int, to *Node) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	index := c.targetLocked(from, to)
	if index < 0 || last < from || last >= router.Slots {
		c.t.Errorf("fakecluster: slots %d to %d can't be given to %s", from, last, to.describeLocked(c.view))
		return
	}
	after := c.view.clone()
	for slot := from; slot <= last; slot++ {
		after.owner[slot] = int16(index)
		delete(c.moves, slot)
	}
	after.shards[index].epoch = after.epoch
	c.publishLocked(after)
}

// BeginMigration begins to give a slot to another primary. It returns nil, and the test fails, if that can't be.
func (c *Cluster) BeginMigration(slot int, to *Node) *Migration {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.view.of(slot)
	if c.targetLocked(slot, to) < 0 || s != nil && s.primary == to || c.moves[slot] != nil {
		c.t.Errorf("fakecluster: slot %d can't be given to %s", slot, to.describeLocked(c.view))
		return nil
	}
	m := &Migration{cluster: c, slot: slot, to: to, moved: make(map[string]bool)}
	if s != nil {
		m.from = s.primary
	}
	c.moves[slot] = m
	return m
}

// targetLocked returns the shard of which to is the primary; -1 if it can't be given a slot.
func (c *Cluster) targetLocked(slot int, to *Node) int {
	s, index := c.view.home(to)
	if slot < 0 || slot >= router.Slots || c.cfg.Standalone || s == nil || s.primary != to || !to.availableLocked() {
		return -1
	}
	return index
}

// MoveKeys moves up to limit keys that are still at the source to the target, in the order of their names; a negative
// limit moves all. It returns how many.
func (m *Migration) MoveKeys(limit int) int {
	c := m.cluster
	keys := c.backend.Keys() // before mu: the backend's lock is above it
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(keys)
	count := 0
	for _, key := range keys {
		if count == limit {
			break
		}
		if router.Slot(key) == m.slot && !m.moved[key] {
			m.moved[key] = true
			count++
		}
	}
	return count
}

// Finish makes the target the owner of the slot for all nodes (CLUSTER SETSLOT NODE). Keys that are left go with it.
// It does nothing when the migration has ended: by Finish, by Cancel, or by a fail-over of one of the two.
func (m *Migration) Finish() {
	c := m.cluster
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moves[m.slot] != m {
		return
	}
	delete(c.moves, m.slot)
	_, index := c.view.home(m.to)
	if index < 0 {
		return
	}
	after := c.view.clone()
	after.owner[m.slot] = int16(index)
	after.shards[index].epoch = after.epoch
	c.publishLocked(after)
}

// Cancel leaves the slot, and all of its keys, where it was (CLUSTER SETSLOT STABLE).
func (m *Migration) Cancel() {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	if m.cluster.moves[m.slot] == m {
		delete(m.cluster.moves, m.slot)
	}
}
