package bus

import (
	"iter"
	"slices"
	"sync/atomic"
)

// groupSlots is how many parts the keys of a group's events are divided into; each belongs to one
// member.
const groupSlots = 1024

// group is subscriptions of one topic that share its events. The topic's list of subscriptions has
// one entry for all of them, a head, which has no lanes of its own: choosing its lane means
// choosing a member. The fan-out's lock covers it, but for pendingMoves.
type group[T any] struct {
	head    *subscription[T]
	members []*subscription[T]
	slots   [groupSlots]*subscription[T]
	epoch   int // of the members: how often they changed
	next    int // where the search for a member for the next unkeyed event begins

	// reassignments are those that may not be over. pendingMoves is their number, which lanes read before
	// they start an event.
	reassignments []*reassignment[T]
	pendingMoves  atomic.Int32
}

// Group makes subscriptions of one topic on one bus share its events: each event goes to one of
// those that give the same name. Each member is subscribed under a name of its own. The name
// follows the rules of topic names.
//
// Events of one key go to the same member, and stay with it while others wait, also while it is
// paused or full. Then the policy of its mailbox acts, so with [Block] their publisher waits. An
// event without a key goes to the member with the fewest waiting, of those that are not paused and
// have room. If there is none, it goes to any, and with Block its publisher waits until one has
// room.
//
// A Replay goes to the member whose dead letters they are.
//
// When a member joins or leaves, no more keys move than are needed for all to have the same share.
// Events of a key are handled in order, and never two at once, also then: what the old member has
// of a key, retries included, is done before the new one starts an event of it. Until then such
// events are deferred, and KeepLatest replaces none that wait.
//
// A group is within one process: on a bus with a transport it is ErrGroupTransport.
func Group(name string) GroupOption {
	return groupOption(func(o *subscribeOptions) { o.group, o.grouped = name, true })
}

// GroupOption is an option of Subscribe, SubscribeMessage and SubscribeBatch. Keyed actors need no
// group: their keys are divided among their lanes.
type GroupOption interface {
	SubscribeOption
	BatchOption
}

type groupOption func(*subscribeOptions)

func (f groupOption) applySubscribe(o *subscribeOptions) { f(o) }
func (f groupOption) applyBatch(o *subscribeOptions)     { f(o) }

// slotOf is the slot of a key, by other bits of its hash than those that choose the lane.
func slotOf(hash uint64) int { return int(hash >> 40 % groupSlots) }

// choose is the lane for an event with that key hash.
func (g *group[T]) choose(hash uint64) *lane[T] {
	if hash != 0 {
		return g.slots[slotOf(hash)].choose(hash)
	}
	g.next++
	var best, other *lane[T]
	fewest := 0
	for i := range g.members {
		m := g.members[(g.next+i)%len(g.members)]
		l := m.choose(0)
		if other == nil || other.full() {
			other = l
		}
		if l.full() || m.ctl.Load()&ctlPaused != 0 {
			continue
		}
		if n := l.load(); best == nil || n < fewest {
			best, fewest = l, n
		}
	}
	if best == nil {
		return other
	}
	return best
}

// load is how many events wait in the lane's mailbox or run. The fan-out's lock is held.
func (l *lane[T]) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.mu.inHand
	if _, running := l.cursorLocked(); running || l.mu.retrying {
		n++
	}
	if l.evicting {
		return n + l.mu.box.len()
	}
	return n + int(l.reader.End()-l.reader.Taken())
}

// lanes is the lanes of all members.
func (g *group[T]) lanes() []*lane[T] {
	var all []*lane[T]
	for _, m := range g.members {
		for _, l := range m.lanes {
			if l != nil {
				all = append(all, l)
			}
		}
	}
	return all
}

// join adds a member and gives it its share of the slots, taken from those who have most.
func (g *group[T]) join(s *subscription[T]) {
	g.members = append(g.members, s)
	g.share()
	g.wakeWaiters()
}

// wakeWaiters has publishers that wait for a member's room look again: there may be another member
// for their event.
func (g *group[T]) wakeWaiters() {
	for _, l := range g.lanes() {
		l.wakeWaiters()
	}
}

// leave takes a member out and gives its slots to those who have fewest.
func (g *group[T]) leave(s *subscription[T]) {
	s.leftGroup = g.epoch + 1
	last := len(g.members) - 1
	for i, m := range g.members {
		if m == s {
			g.members[i] = g.members[last]
			g.members[last] = nil
			g.members = g.members[:last]
			break
		}
	}
	g.share()
	g.wakeWaiters()
}

// share has every member own as many slots as the others, or one more, and moves as few as
// possible. Without members the slots stay with their owners, so that whoever joins next knows from
// whom they come.
func (g *group[T]) share() {
	g.epoch++
	g.forgetOver()
	n := len(g.members)
	if n == 0 {
		return
	}
	quota := make(map[*subscription[T]]int, n) // how many more it may own
	for i, m := range g.members {
		quota[m] = groupSlots / n
		if i < groupSlots%n {
			quota[m]++
		}
	}
	var free []int
	for slot, owner := range g.slots {
		if quota[owner] > 0 {
			quota[owner]--
		} else { // too many, or no member
			free = append(free, slot)
		}
	}
	moved := make(map[*subscription[T]]*reassignment[T])
	before := make(map[*lane[T]]uint64)
	for _, l := range g.lanes() {
		before[l] = l.entered()
	}
	for _, m := range g.members {
		for ; quota[m] > 0; quota[m]-- {
			slot := free[0]
			free = free[1:]
			if from := g.slots[slot]; from != nil {
				if moved[from] == nil {
					moved[from] = newReassignment(from)
					moved[from].before, moved[from].epoch = before, g.epoch
				}
				moved[from].slots[slot] = true
			}
			g.slots[slot] = m
		}
	}
	for _, h := range moved {
		if !h.over() {
			g.reassignments = append(g.reassignments, h)
		}
	}
	g.pendingMoves.Store(int32(len(g.reassignments)))
}

// forgetOver forgets the reassignments that are over.
func (g *group[T]) forgetOver() {
	kept := g.reassignments[:0]
	for _, h := range g.reassignments {
		if !h.over() {
			kept = append(kept, h)
		}
	}
	clear(g.reassignments[len(kept):])
	g.reassignments = kept
	g.pendingMoves.Store(int32(len(kept)))
}

// joinLocked adds s to its group, which begins with its first member.
func (fan *fanout[T]) joinLocked(s *subscription[T]) {
	name := s.opts.group
	g := fan.mu.groups[name]
	if g == nil {
		g = new(group[T])
		g.head = &subscription[T]{topic: s.topic, group: g}
		g.head.bus, g.head.info, g.head.name, g.head.opts = s.bus, s.info, headName(name), &defaultOptions
		if fan.mu.groups == nil {
			fan.mu.groups = make(map[string]*group[T])
		}
		fan.mu.groups[name] = g
	}
	s.group = g
	if len(g.members) == 0 {
		fan.mu.index[g.head.name] = len(fan.mu.subs)
		fan.mu.subs = append(fan.mu.subs, g.head)
	}
	g.join(s)
}

// headName is no name that a subscription can have.
func headName(group string) string { return "group " + group }

// leaveLocked takes s out of its group and reports whether it was a member. What waits in s stays
// its own; what is published from now on goes to the others, and to nobody if there are none.
func (fan *fanout[T]) leaveLocked(s *subscription[T]) bool {
	g := s.group
	if g == nil || !slices.Contains(g.members, s) {
		return false
	}
	g.leave(s)
	if len(g.members) == 0 {
		head := g.head.name
		fan.takeOutLocked(fan.mu.index[head])
		delete(fan.mu.index, head)
		fan.forgetGroupLocked(s.opts.group, g)
	}
	return true
}

// forgetGroupLocked forgets what is over of a group: keys that changed hands, and all of it once it
// has no members, and none of those who left has events any more that the next member must not
// overtake.
func (fan *fanout[T]) forgetGroupLocked(name string, g *group[T]) {
	g.forgetOver()
	if len(g.members) > 0 || len(g.reassignments) > 0 || fan.mu.groups[name] != g {
		return
	}
	if last := g.slots[0]; newReassignment(last).over() { // it has all slots
		delete(fan.mu.groups, name)
	}
}

// endedInGroup is called when s has ended: nobody awaits it any more.
func (s *subscription[T]) endedInGroup() {
	if s.group == nil {
		return
	}
	fan := &s.topic.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	fan.forgetGroupLocked(s.opts.group, s.group)
}

// allLocked is every subscription, the members of groups included.
func (fan *fanout[T]) allLocked() iter.Seq[*subscription[T]] {
	return func(yield func(*subscription[T]) bool) {
		for _, s := range fan.mu.subs {
			if s.group == nil {
				if !yield(s) {
					return
				}
				continue
			}
			for _, m := range s.group.members {
				if !yield(m) {
					return
				}
			}
		}
	}
}
