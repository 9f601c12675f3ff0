package bus

import "github.com/shardbus/shardbus/bus/internal/mailbox"

// target is what an event is offered to: a subscription, or a group, one member of which gets it.
type target[T any] interface {
	// enlist tells a plan what publishers need to know of the target.
	enlist(p *fanoutPlan[T])
	// choose is the lane for an event with that key hash: always the same for a key, and for no key
	// (0) one with room.
	choose(hash uint64) *lane[T]
	// owners is the lanes that may have an event with that key hash; nil for one that was not made.
	owners(hash uint64) []*lane[T]
	// commit shows all lanes what was appended to their own mailboxes.
	commit()
	// setPlace says where in the list of targets it stands.
	setPlace(place int)
}

// fanoutPlan is what publishers need to know of the targets of a topic. It never changes. As targets
// come and go it is dropped, and the next event makes another: a topic without events has none.
type fanoutPlan[T any] struct {
	fast   fastPath
	keyed  bool // a target needs the key of an event, to choose a lane or to find what it replaces
	latest bool // a mailbox needs the key itself, and not its hash only

	only    *subscription[T] // with fastLanes: the target
	readers []*lane[T]       // those that read the shared mailbox
	own     []target[T]      // those that have mailboxes of their own
}

// fastPath is the short way in that Publish may take.
type fastPath uint8

const (
	fastNone   fastPath = iota
	fastShared          // all targets read the shared mailbox
	fastLanes           // there is one, a subscription with mailboxes of its own that drop nothing
)

// Hints at a plan.
const (
	hintShared uint32 = 1 << iota // the fast path is fastShared
	hintLanes                     // it is fastLanes
	hintKeyed                     // keyed, so that keys, which are user code, are found before locking
	hintLatest                    // latest
)

// planLocked is the plan, made if need be.
func (fan *fanout[T]) planLocked() *fanoutPlan[T] {
	if fan.mu.plan == nil {
		fan.setPlan(fan.newPlan())
	}
	return fan.mu.plan
}

// changed drops the plan, after a target came or went or has other mailboxes.
func (fan *fanout[T]) changed() { fan.setPlan(nil) }

func (fan *fanout[T]) setPlan(p *fanoutPlan[T]) {
	fan.mu.plan, fan.mu.sole, fan.mu.sweepCursor = p, nil, 0
	if p == nil {
		fan.hints.Store(0)
		return
	}
	if len(p.readers) == 1 {
		fan.mu.sole = p.readers[0]
	}
	var hints uint32
	switch p.fast {
	case fastShared:
		hints = hintShared
	case fastLanes:
		hints = hintLanes
	case fastNone:
	}
	if p.keyed {
		hints |= hintKeyed
	}
	if p.latest {
		hints |= hintLatest
	}
	fan.hints.Store(hints)
}

func (fan *fanout[T]) newPlan() *fanoutPlan[T] {
	p := new(fanoutPlan[T])
	for _, t := range fan.mu.targets {
		t.enlist(p)
	}
	if n := len(p.readers); n > 0 {
		fan.mu.shared.SetSoleReader(n == 1)
	}
	switch {
	case fan.indirect, fan.published != nil, fan.mu.closed:
	case len(p.own) == 0 && len(p.readers) > 0:
		p.fast = fastShared
	case len(p.own) == 1 && len(p.readers) == 0 && p.only != nil:
		p.fast = fastLanes
	}
	return p
}

// enlist implements target. A lane that is to read the shared mailbox is made now.
func (s *subscription[T]) enlist(p *fanoutPlan[T]) {
	p.keyed = p.keyed || len(s.lanes) > 1 || s.opts.policy == KeepLatest
	p.latest = p.latest || s.opts.policy == KeepLatest
	if !s.shares {
		p.own = append(p.own, s)
		if s.opts.policy == Block || s.opts.policy == Fail {
			p.only = s
		}
		return
	}
	if s.lanes[0] == nil {
		fan := s.fan
		if fan.mu.shared == nil {
			fan.mu.shared = mailbox.NewShared[cell[T]](0)
		}
		s.newLane(0, fan.mu.shared)
		fan.mu.readers++
	}
	p.readers = append(p.readers, s.lanes[0])
}

// enlist implements target.
func (g *group[T]) enlist(p *fanoutPlan[T]) {
	p.keyed = true
	p.own = append(p.own, g)
	for m := range g.members() {
		p.latest = p.latest || m.opts.policy == KeepLatest
	}
}
