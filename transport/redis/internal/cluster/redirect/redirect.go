// Package redirect remembers which node a MOVED named for a slot, until the topology says it too.
// Publishing and subscribing each have a table: what one of them is told is no news for the other,
// which has connections, and answers on their way, of its own. It is pure: the clock is an
// argument.
package redirect

import "time"

// View is the topology.
type View interface {
	// Owner returns the address of the primary of a slot; empty if there is none.
	Owner(slot int) string
}

// Table are the nodes that a MOVED named, of slots where the topology says otherwise. It is not
// safe for concurrent use.
type Table struct {
	view   View
	bySlot map[int]redirect
}

// redirect is where a node said that a slot is.
type redirect struct {
	to    string
	since time.Time
}

// New returns an empty table over a topology.
func New(view View) Table { return Table{view: view, bySlot: make(map[int]redirect)} }

// Owner returns the address of the primary of a slot as far as it is known: the redirect's, or else
// the topology's; empty if there is none.
func (t *Table) Owner(slot int) string {
	if d, is := t.bySlot[slot]; is {
		return d.to
	}
	return t.view.Owner(slot)
}

// Moved is a MOVED.
type Moved struct {
	Slot     int
	From, To string // who said it, and where the slot is; To is empty if it names no address
	Target   string // where requests for the slot are sent now
}

// Note takes in a MOVED, and reports whether the slot is elsewhere from now on, and whether another
// redirect was followed before it: then the two nodes may not agree.
//
// It counts only from the node that is asked now. Several requests are in flight, so an old one may
// be answered when the topology knows, or knows better. Such an answer would hold for as long as
// nothing else changes. One that names the topology's own owner ends the redirect.
func (t *Table) Note(m Moved, now time.Time) (followed, again bool) {
	if m.To == "" || m.To == m.From || m.From != m.Target {
		return false, false
	}
	_, again = t.bySlot[m.Slot]
	if m.To == t.view.Owner(m.Slot) {
		delete(t.bySlot, m.Slot)
	} else {
		t.bySlot[m.Slot] = redirect{to: m.To, since: now}
	}
	return true, again
}

// Clear ends all redirects: there is a new topology.
func (t *Table) Clear() { clear(t.bySlot) }

// EndOlder ends the redirects that have held for an age, but for those to a node that is kept, and
// returns their slots. A slot that was elsewhere for a moment only leads to no new topology.
func (t *Table) EndOlder(now time.Time, age time.Duration, keep func(to string) bool) (slots []int) {
	return t.end(func(d redirect) bool { return now.Sub(d.since) >= age && !keep(d.to) })
}

// EndTo ends the redirects to a node, and returns their slots.
func (t *Table) EndTo(addr string) (slots []int) {
	return t.end(func(d redirect) bool { return d.to == addr })
}

func (t *Table) end(over func(redirect) bool) (slots []int) {
	for slot, d := range t.bySlot {
		if over(d) {
			delete(t.bySlot, slot)
			slots = append(slots, slot)
		}
	}
	return slots
}
