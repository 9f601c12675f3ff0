package bus

import (
	"iter"

	"github.com/shardbus/shardbus/bus/internal/keyshare"
)

// group is subscriptions of one topic that share its events. It has
// one target for all of them: choosing its lane means choosing a member. The fan-out's lock covers it,
// but for keys.Moving.
type group[T any] struct {
	keys  keyshare.Group
	next  int // where the search for a member for the next unkeyed event begins
	place int // among the topic's targets
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
// On a durable topic a group has members on several buses, where the log is shared: each bus has a share of
// the partitions, and its members share the events of those. What a member that leaves had not started goes
// to the others. Publishers never wait.
//
// Keyed actors of a durable topic are in a group of which each bus has one subscription; a second one, of
// whatever kind, is ErrDuplicateSubscription, and none can be replaced. Actors of another topic can't be in a
// group: Spawn returns ErrNotDurable.
//
// On other topics a group is within one process: on a bus with a transport it is ErrGroupTransport.
func Group(name string) Option {
	return option(func(o *subscribeOptions) { o.group, o.grouped = name, true })
}

// members is the members, in the order of keys.Members.
func (g *group[T]) members() iter.Seq[*subscription[T]] {
	return func(yield func(*subscription[T]) bool) {
		for _, m := range g.keys.Members() {
			if !yield(m.(*subscription[T])) {
				return
			}
		}
	}
}

// owner is the member that has the keys of that hash.
func (g *group[T]) owner(hash uint64) *subscription[T] { return g.keys.Owner(hash).(*subscription[T]) }

// choose is the lane for an event with that key hash.
func (g *group[T]) choose(hash uint64) *lane[T] {
	if hash != 0 {
		return g.owner(hash).choose(hash)
	}
	g.next++
	members := g.keys.Members()
	var best, other *lane[T]
	fewest := 0
	for i := range members {
		m := members[(g.next+i)%len(members)].(*subscription[T])
		l := m.choose(0)
		if other == nil || other.full() {
			other = l
		}
		if l.full() || m.ctl.Load()&(ctlPaused|ctlHeld) != 0 {
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

// lanes is the lanes of all members.
func (g *group[T]) lanes() []*lane[T] {
	var all []*lane[T]
	for m := range g.members() {
		for _, l := range m.lanes {
			if l != nil {
				all = append(all, l)
			}
		}
	}
	return all
}

// wakeWaiters has publishers that wait for a member's room look again, after a member came or went:
// there may be another member for their event.
func (g *group[T]) wakeWaiters() {
	for _, l := range g.lanes() {
		l.wakeWaiters()
	}
}

// owners implements target. While keys move it is every lane.
func (g *group[T]) owners(hash uint64) []*lane[T] {
	if hash != 0 && !g.keys.Moving() {
		return g.owner(hash).owners(hash)
	}
	return g.lanes()
}

// commit implements target.
func (g *group[T]) commit() {
	for m := range g.members() {
		m.commit()
	}
}

// joinLocked adds s to its group, which begins with its first member.
func (fan *fanout[T]) joinLocked(s *subscription[T]) {
	name := s.opts.group
	g := fan.mu.groups[name]
	if g == nil {
		g = new(group[T])
		if fan.mu.groups == nil {
			fan.mu.groups = make(map[string]*group[T])
		}
		fan.mu.groups[name] = g
	}
	s.group = g
	if len(g.keys.Members()) == 0 {
		fan.addTarget(g)
	}
	g.keys.Join(s)
	g.wakeWaiters()
	if s.info.durable { // what waits in other members goes with its key
		for _, l := range g.lanes() {
			l.returnSoon()
		}
	}
}

// leaveLocked takes s out of its group. What waits in s stays its own; what is published from now on
// goes to the others, and to nobody if there are none.
func (fan *fanout[T]) leaveLocked(s *subscription[T]) {
	g := s.group
	g.keys.Leave(s)
	g.wakeWaiters()
	if len(g.keys.Members()) == 0 {
		fan.removeTarget(g.place)
		fan.forgetGroupLocked(s.opts.group, g)
	}
}

// forgetGroupLocked forgets a group that is over.
func (fan *fanout[T]) forgetGroupLocked(name string, g *group[T]) {
	if fan.mu.groups[name] == g && g.keys.Over() {
		delete(fan.mu.groups, name)
	}
}

// endedInGroupLocked is called when a member has ended: nobody waits for it any more.
func (fan *fanout[T]) endedInGroupLocked(s *subscription[T]) {
	s.group.keys.Ended(s)
	fan.forgetGroupLocked(s.opts.group, s.group)
}
