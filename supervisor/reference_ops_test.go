package supervisor

import (
	"fmt"
	"slices"
)

// operate plays what a scenario does to the supervisor: Add, Remove, Tree.
func (m *reference) operate(i int) {
	o := &m.sc.ops[i]
	find := func(kids []*refKid) *refKid {
		for _, k := range kids {
			if k.child.Name == o.name {
				return k
			}
		}
		return nil
	}
	k, rested := find(m.kids), find(m.resting)
	forget := func() {
		m.resting = slices.DeleteFunc(m.resting, func(x *refKid) bool { return x == rested })
	}
	switch o.what {
	case "add":
		switch {
		case k != nil:
			m.say("add %s: duplicate", o.name)
		case m.busy && m.phase != "serve":
			m.say("add %s: stopping", o.name)
		default:
			forget()
			k := m.list(&o.kid, false)
			if m.phase == "serve" {
				k.state = "pending"
			}
			m.say("add %s: nil", o.name)
		}
	case "remove":
		switch {
		case k == nil && rested != nil:
			forget()
			m.removed(i, "nil")
		case k == nil:
			m.removed(i, "unknown")
		case k.state == "abandoned":
			k.leaving = true
			m.removed(i, "abandoned "+k.child.Name+" nil")
		default:
			k.leaving = true
			k.removers = append(k.removers, i)
			switch {
			case !k.alive():
				m.drop(k)
			case k.state == "stopping" || m.phase == "close" || m.group && k.order >= m.groupFrom:
			default:
				k.gates = false
				m.stop(k, "remove")
			}
		}
	case "tree":
		state := map[string]string{"rest": "stopped", "close": "stopping", "serve": "running"}[m.phase]
		if m.phase == "rest" && m.serves == 0 {
			state = "idle"
		} else if m.phase == "serve" && !m.started {
			state = "starting"
		}
		text := fmt.Sprintf("tree %s#%d r%d", state, m.serves, m.restarts)
		for _, k := range m.kids {
			text += fmt.Sprintf(" %s:%s#%d", k.child.Name, k.state, k.inc)
		}
		m.say("%s", text)
	}
}
