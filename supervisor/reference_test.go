package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// reference is the model that the supervisor is held against: it plays a scenario on paper and says
// what must be seen. It knows nothing of step. It has no cursors, queues or generations: after
// every single thing that happens it looks at all children and asks what the rules want next.
type reference struct {
	sc  *scenario
	now time.Duration
	log []string // of events
	res []string // of calls

	kids    []*refKid // in start order
	resting []*refKid
	orders  int

	phase    string // "rest", "serve", "close"
	serves   int    // begun
	busy     bool   // Serve has not returned
	returns  time.Duration
	counted  []time.Duration
	restarts int
	cause    string // "": asked to
	result   string
	started  bool // everything was

	group      bool
	groupFrom  int
	groupUntil time.Duration

	ambiguous bool // two unrelated things at once: there is no telling which is first
}

type refKid struct {
	*script
	order    int
	declared bool
	state    string
	inc      int
	gates    bool // later children wait for it
	began    time.Duration
	up       time.Duration
	isUp     bool
	told     time.Duration
	why      string
	leaving  bool
	fails    int
	until    time.Duration // of back-off
	removers []int         // indexes of ops
}

func (k *refKid) life() life { return k.lives[(k.inc-1)%len(k.lives)] }
func (k *refKid) alive() bool {
	return slices.Contains([]string{"starting", "running", "stopping"}, k.state)
}

// predict plays a scenario to its end.
func predict(sc *scenario) *reference {
	m := &reference{sc: sc, phase: "rest"}
	for i := range sc.kids {
		m.list(&sc.kids[i], true)
	}
	ops, end := 0, never
	nextServe := time.Duration(0)
	for {
		type choice struct {
			at, since time.Duration
			do        func()
		}
		var choices []choice
		can := func(at, since time.Duration, do func()) { choices = append(choices, choice{at, since, do}) }
		if nextServe != never {
			can(nextServe, -1, func() {
				end = m.now + sc.serves[m.serves]
				nextServe = never
				m.serve()
			})
		}
		if m.busy && m.phase == "serve" {
			can(end, -1, func() { m.close("") })
		}
		if m.busy && m.phase == "rest" {
			can(m.returns, m.returns, func() {
				m.busy = false
				m.say("serve: %s", m.result)
				if m.serves < len(sc.serves) {
					nextServe = m.now + sc.pause
				}
			})
		}
		if ops < len(sc.ops) {
			can(sc.ops[ops].at, -1, func() { ops++; m.operate(ops - 1) })
		}
		if m.group {
			can(max(m.groupUntil, m.now), m.now-1, func() {})
			if m.groupUntil <= m.now {
				choices = choices[:len(choices)-1] // settled already
			}
		}
		for _, k := range m.kids {
			m.plans(k, func(at, since time.Duration, do func()) { can(at, since, do) })
		}
		if len(choices) == 0 || (ops == len(sc.ops) && nextServe == never && !m.busy && m.serves == len(sc.serves) && !m.waiting()) {
			return m
		}
		first := choices[0]
		for _, c := range choices[1:] {
			if c.at < first.at {
				first = c
			}
		}
		for i, c := range choices {
			if c.at == first.at && c.since < c.at && &choices[i] != &choices[0] && first.since < first.at && c.since != first.since {
				m.ambiguous = true
			}
		}
		if first.at > m.now {
			m.now = first.at
		}
		first.do()
		m.proceed()
	}
}

// waiting reports whether a Remove has not returned.
func (m *reference) waiting() bool {
	return slices.ContainsFunc(m.kids, func(k *refKid) bool { return len(k.removers) > 0 })
}

// plans lists what a child does next by itself, and what its alarms do.
func (m *reference) plans(k *refKid, can func(at, since time.Duration, do func())) {
	switch k.state {
	case "starting", "running":
		l := k.life()
		if k.state == "starting" && l.ready != never {
			can(k.began+l.ready, k.began, func() {
				k.state, k.gates, k.up, k.isUp = "running", false, m.now, true
				m.event(EventReady, k, 0, "nil")
			})
		}
		if l.runs != never {
			can(k.began+l.runs, k.began, func() { m.exit(k, l.ends) })
		}
		if k.state == "starting" && m.phase == "serve" && !(m.group && k.order >= m.groupFrom) {
			can(k.began+k.child.StartTimeout, k.began, func() {
				if m.sc.spec.Strategy == OneForOne {
					k.gates = false
				}
				m.stop(k, "timeout")
			})
		}
	case "stopping", "abandoned":
		l := k.life()
		if l.stops != never {
			can(k.told+l.stops, k.told, func() { m.obey(k, l.last) })
		}
		if k.state == "stopping" {
			can(k.told+k.child.Grace, k.told, func() { m.abandon(k) })
		}
	case "backoff":
		if m.sc.spec.Strategy == OneForOne {
			can(k.until, k.told, func() { m.start(k) })
		}
	}
}

func (m *reference) say(format string, args ...any) {
	m.res = append(m.res, fmt.Sprintf("%v ", m.now)+fmt.Sprintf(format, args...))
}

func (m *reference) event(kind Kind, k *refKid, delay time.Duration, err string) {
	name, inc := "", m.serves
	if k != nil {
		name, inc = k.child.Name, k.inc
	}
	m.log = append(m.log, line(m.now, kind, name, uint64(inc), delay, err))
}

func (m *reference) list(s *script, declared bool) *refKid {
	m.orders++
	k := &refKid{script: s, order: m.orders, declared: declared, state: "idle"}
	m.kids = append(m.kids, k)
	return k
}

func (m *reference) serve() {
	m.busy, m.phase, m.cause = true, "serve", ""
	m.serves++
	m.counted, m.restarts, m.started = nil, 0, false
	m.kids = append(m.kids, m.resting...)
	m.resting = nil
	slices.SortFunc(m.kids, func(a, b *refKid) int { return a.order - b.order })
	for _, k := range m.kids {
		if k.state != "abandoned" {
			k.state, k.fails, k.leaving = "pending", 0, false
			continue
		}
		k.why, k.fails = "before", 0
		if m.sc.spec.Strategy != OneForOne {
			m.close("escalate " + k.child.Name)
			break
		}
	}
}

func (m *reference) close(cause string) {
	if m.phase != "serve" {
		return
	}
	m.phase, m.cause, m.group = "close", cause, false
	for _, k := range m.kids {
		k.gates = false
		if k.state == "pending" || k.state == "backoff" {
			k.state = "idle"
		}
	}
}

// proceed does everything that the rules want done now.
func (m *reference) proceed() {
	if m.phase == "close" {
		if m.stopLast(0, "shutdown") {
			return
		}
		m.phase = "rest"
		var paths []string
		for _, k := range m.kids {
			if k.state == "abandoned" {
				paths = append(paths, k.child.Name)
			}
		}
		m.result = m.cause
		if m.cause == "" {
			m.result = "nil"
		}
		text := m.result
		if len(paths) > 0 {
			text = "abandoned " + strings.Join(paths, ",") + " " + m.result
		}
		if m.cause != "" {
			m.event(EventEscalated, nil, 0, text)
		}
		m.event(EventStopped, nil, 0, text)
		m.returns = m.now
		if m.sc.hook == hookBlocks {
			m.returns += HookGrace
			text = "abandoned " + strings.Join(paths, ",") + "+hook " + m.result
		}
		m.result = text
		return
	}
	if m.phase != "serve" {
		return
	}
	if m.group {
		if m.stopLast(m.groupFrom, "group") || m.now < m.groupUntil {
			return
		}
		m.group = false
		for _, k := range m.kids {
			if k.order >= m.groupFrom {
				k.state = "pending"
			}
		}
	}
	for _, k := range m.kids {
		if k.gates {
			return
		}
		if k.state == "pending" {
			m.start(k)
			if k.gates = k.child.AwaitReady; k.gates {
				return
			}
		}
	}
	m.started = true
}

// stopLast tells the last living child to stop and reports whether there is one.
func (m *reference) stopLast(from int, why string) bool {
	for _, k := range slices.Backward(m.kids) {
		if k.order >= from && k.alive() {
			if k.state != "stopping" {
				m.stop(k, why)
			}
			return true
		}
	}
	return false
}

func (m *reference) start(k *refKid) {
	k.inc++
	k.began, k.up, k.isUp = m.now, m.now, !k.child.AwaitReady
	k.state = "running"
	if k.child.AwaitReady {
		k.state = "starting"
	}
	m.event(EventStarted, k, 0, "nil")
}

func (m *reference) stop(k *refKid, why string) {
	k.state, k.why, k.told = "stopping", why, m.now
}

func (m *reference) abandon(k *refKid) {
	k.state = "abandoned"
	m.event(EventAbandoned, k, 0, "nil")
	for _, r := range k.removers {
		m.removed(r, "abandoned "+k.child.Name+" nil")
	}
	k.removers = nil
	if m.sc.spec.Strategy != OneForOne {
		m.close("escalate " + k.child.Name)
	}
}

func (m *reference) removed(op int, err string) {
	m.say("remove %s of %v: %s", m.sc.ops[op].name, m.sc.ops[op].at, err)
}

func (m *reference) drop(k *refKid) {
	m.kids = slices.DeleteFunc(m.kids, func(x *refKid) bool { return x == k })
	for _, r := range k.removers {
		m.removed(r, "nil")
	}
	k.removers = nil
	if k.declared && !k.leaving {
		k.state, k.gates = "idle", false
		m.resting = append(m.resting, k)
	}
}

func errorOf(e ending) string {
	return [...]string{endNil: "nil", endError: "boom", endPanic: "panic", endGoexit: "goexit", endDone: "done", endEscalate: "verdict"}[e]
}

// obey is the end of a child that was told to stop.
func (m *reference) obey(k *refKid, e ending) {
	if k.why == "timeout" {
		m.event(EventExited, k, 0, "timeout")
	} else {
		m.event(EventStopped, k, 0, errorOf(e))
	}
	switch {
	case k.leaving:
		m.drop(k)
	case m.phase != "serve":
		m.rest(k, "idle")
	case m.group && k.order >= m.groupFrom:
		m.rest(k, "pending")
	case k.why == "before":
		if m.rest(k, "pending"); k.state == "pending" {
			m.start(k)
		}
	default:
		m.exited(k, endError, "timeout")
	}
}

// rest puts a child that ended into a state, unless it is Temporary.
func (m *reference) rest(k *refKid, state string) {
	if k.child.Restart == Temporary {
		m.drop(k)
		return
	}
	k.state = state
}

// all is everything predicted, in the order of trace.log.
func (m *reference) all() []string {
	res := slices.Clone(m.res)
	slices.Sort(res)
	return append(slices.Clone(m.log), res...)
}
