package supervisor

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Passive is a supervisor for workers that own no goroutine: whoever runs them tells it of their
// failures, and it answers whether and when to run them again. The decisions are those of a
// [Supervisor] with the strategy OneForOne and Permanent children, taken by the same function. It
// has no goroutine and no clock; idle, it costs memory only, and a worker that never failed need
// not cost even that, because Failed lists a name that is new.
//
// Its methods may be called from several goroutines at once.
type Passive struct {
	spec Spec
	luck luck

	mu     sync.Mutex
	state  state
	nodes  map[string]*passiveNode
	nextID uint64
	alarms alarms
	// guests are the nodes that Failed listed, by the time of their failure.
	guests []guest
}

type passiveNode struct {
	node   node
	added  bool      // by Add: it stays until Remove
	failed time.Time // the last failure
	delay  time.Duration
}

type guest struct {
	name string
	at   time.Time
}

// Decision is what shall become of a worker that failed.
type Decision struct {
	// Restart is true if the worker shall run again, After that long.
	Restart bool
	After   time.Duration
	// Err is set if Restart is false: the *TooManyRestarts (or, for a failure that wraps
	// ErrEscalate, the *EscalateError) that ended this Passive and all of its workers. It is nil
	// for one worker that is done (ErrDone).
	Err error
}

// NewPassive returns a Passive. Of the spec, Name, MaxRestarts, Within, Backoff and Rand apply; the
// others must be zero.
func NewPassive(spec Spec) (*Passive, error) {
	if spec.Strategy != OneForOne || spec.AutoShutdown != Never || spec.OnEvent != nil {
		return nil, fmt.Errorf("supervisor %q: a Passive has no Strategy, AutoShutdown or OnEvent", spec.Name)
	}
	spec, err := spec.resolved()
	if err != nil {
		return nil, err
	}
	return &Passive{spec: spec, luck: luck{rand: spec.Rand}, state: newState(spec)}, nil
}

// Add lists a worker, as running since now, until Remove. It fails with ErrDuplicate if Add listed
// it before, and with the error that ended the Passive.
func (p *Passive) Add(now time.Time, name string) error {
	if name == "" {
		return errors.New("supervisor: a worker has no name")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked(now)
	if p.state.phase != serving {
		return p.state.lastErr
	}
	n := p.nodes[name]
	if n != nil && n.added {
		return fmt.Errorf("%w: %q", ErrDuplicate, name)
	}
	if n == nil {
		n = p.listLocked(now, name)
	}
	n.added = true
	return nil
}

// Remove takes a worker off the list: it was shut down, not because of a failure. A name that is
// not listed is ignored. Restarts of it still count for the limit.
func (p *Passive) Remove(now time.Time, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked(now)
	if n := p.nodes[name]; n != nil {
		p.stepLocked(input{what: inRemove, now: now, node: &n.node})
	}
}

// Failed says that a worker failed at now, with the error or *PanicError err, and returns what to
// do. A name that is not listed is listed by this, until it has run for Backoff.ResetAfter without
// failing again. Times must not go backwards by more than clocks do.
func (p *Passive) Failed(now time.Time, name string, err error) Decision {
	roll := p.luck.draw()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked(now)
	if p.state.phase != serving {
		return Decision{Err: p.state.lastErr}
	}
	p.forgetLocked(now)
	n := p.nodes[name]
	if n == nil {
		n = p.listLocked(now, name)
	}
	if n.node.state == StateBackoff { // it was run again before the delay was over
		p.stepLocked(input{what: inAlarm, now: now, node: &n.node, alarm: n.node.alarm})
	}
	n.failed = now
	out := classify(err)
	if out == finished {
		out = failed
	}
	p.stepLocked(input{
		what: inExit, now: now, node: &n.node, incarnation: n.node.incarnation,
		out: out, err: err, roll: roll,
	})
	if !n.added {
		p.guests = append(p.guests, guest{name, now})
	}
	switch n.node.state {
	case StateBackoff:
		return Decision{Restart: true, After: n.delay}
	case StateRunning: // without delay
		return Decision{Restart: true}
	default:
		return Decision{Err: p.state.lastErr}
	}
}

// Err returns the error that ended the Passive, nil as long as there is none.
func (p *Passive) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.lastErr
}

// Tree returns the workers as they are at now.
func (p *Passive) Tree(now time.Time) Tree {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.catchUpLocked(now)
	if p.state.phase == serving {
		p.forgetLocked(now)
	}
	return p.state.tree(now)
}

// listLocked adds a worker that is running.
func (p *Passive) listLocked(now time.Time, name string) *passiveNode {
	if p.nodes == nil {
		p.nodes = make(map[string]*passiveNode)
	}
	p.nextID++
	n := &passiveNode{node: node{id: p.nextID, rule: Child{Name: name, Grace: Forever, Backoff: p.spec.Backoff}}}
	p.nodes[name] = n
	p.stepLocked(input{what: inAdd, now: now, node: &n.node})
	return n
}

// catchUpLocked does what became due up to now.
func (p *Passive) catchUpLocked(now time.Time) {
	if p.state.incarnation == 0 {
		p.stepLocked(input{what: inServe, now: now})
	}
	for {
		a, ok := p.alarms.due(now)
		if !ok {
			return
		}
		// As of its own time, so that health is counted from the restart.
		p.stepLocked(input{what: inAlarm, now: a.at, node: a.node, alarm: a.gen})
	}
}

// forgetLocked drops the nodes that nobody added and that have been well for so long that a failure
// would be their first. Otherwise keys that fail once in their life would pile up.
func (p *Passive) forgetLocked(now time.Time) {
	for len(p.guests) > 0 {
		g := p.guests[0]
		if now.Sub(g.at) < p.spec.Backoff.ResetAfter+p.spec.Backoff.ceiling() {
			return
		}
		p.guests[0] = guest{}
		p.guests = p.guests[1:]
		if n := p.nodes[g.name]; n != nil && !n.added && n.failed.Equal(g.at) {
			p.stepLocked(input{what: inRemove, now: now, node: &n.node})
		}
	}
}

// stepLocked tells the core what happened. A worker that shall stop is no more than its entry: it
// has stopped at once, which is the next thing that happened.
func (p *Passive) stepLocked(in input) {
	for again := true; again; {
		again = false
		for _, a := range step(&p.state, in) {
			switch a.do {
			case doCancel:
				again = true
				in = input{what: inExit, now: in.now, node: a.node, incarnation: a.node.incarnation}
			case doArm:
				p.alarms.set(alarm{at: a.at, node: a.node, gen: a.alarm}, len(p.nodes))
			case doTell:
				if a.kind == EventBackoff {
					p.nodes[a.node.rule.Name].delay = a.delay
				}
			case doDrop:
				delete(p.nodes, a.node.rule.Name)
			case doFinish:
				p.state.lastErr = a.err
				p.alarms, p.guests = nil, nil
			case doStart, doReply, doReady: // there is nobody to do it for
			}
		}
	}
}
