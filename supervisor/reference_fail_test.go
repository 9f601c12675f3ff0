package supervisor

import (
	"slices"
	"time"
)

// exit is the end of a child by itself.
func (m *reference) exit(k *refKid, e ending) {
	m.event(EventExited, k, 0, errorOf(e))
	switch {
	case k.leaving:
		m.drop(k)
	case m.phase == "close":
		m.rest(k, "idle")
	default:
		m.exited(k, e, errorOf(e))
	}
}

func (m *reference) exited(k *refKid, e ending, err string) {
	isFailure := e == endError || e == endPanic || e == endGoexit
	again := k.child.Restart == Permanent && e != endDone || k.child.Restart == Transient && isFailure
	member := m.group && k.order >= m.groupFrom
	switch {
	case e == endEscalate:
		k.state = "stopped"
		m.close("escalate " + k.child.Name)
	case again && member:
		k.state = "pending"
	case again:
		m.fail(k, err)
	default:
		m.rest(k, "stopped")
		k.gates = false
		if k.child.Significant && m.fulfilled() {
			cause := ""
			if isFailure {
				cause = "escalate " + k.child.Name
			}
			m.close(cause)
		} else if member && k.state == "stopped" {
			k.state = "pending"
		}
	}
}

func (m *reference) fulfilled() bool {
	auto := m.sc.spec.AutoShutdown
	left := slices.ContainsFunc(m.kids, func(k *refKid) bool { return k.child.Significant && k.state != "stopped" })
	return auto == AnySignificant || auto == AllSignificant && !left
}

func (m *reference) fail(k *refKid, err string) {
	spec := m.sc.spec
	recent := 0
	for _, at := range m.counted {
		if m.now-at <= spec.Within {
			recent++
		}
	}
	if spec.MaxRestarts != Unlimited && recent+1 > max(0, spec.MaxRestarts) {
		k.state, k.gates = "stopped", false
		m.close("toomany " + k.child.Name)
		return
	}
	m.counted = append(m.counted, m.now)
	m.restarts++
	if k.isUp && m.now-k.up >= spec.Backoff.ResetAfter {
		k.fails = 0
	}
	k.fails++
	delay := envelope(spec.Backoff, k.fails)
	if j := spec.Backoff.Jitter; j > 0 {
		delay -= time.Duration(luckAt(m.now) * j * float64(delay))
	}
	m.event(EventBackoff, k, delay, err)
	k.state, k.until, k.told = "backoff", m.now+delay, m.now
	k.gates = false
	if spec.Strategy == OneForOne {
		if delay == 0 {
			m.start(k)
		}
		return
	}
	if m.group {
		m.groupUntil = max(m.groupUntil, k.until)
	} else {
		m.groupUntil = k.until
	}
	m.group, m.groupFrom = true, k.order
	for _, k := range m.kids {
		k.gates = false
	}
	if spec.Strategy == OneForAll {
		m.groupFrom = 0
	}
}

// envelope is the longest delay after so many failures in a row.
func envelope(b Backoff, fails int) time.Duration {
	if b.Min < 0 {
		return 0
	}
	d := b.Min
	for range fails - 1 {
		d = min(2*d, b.Max)
	}
	return d
}
