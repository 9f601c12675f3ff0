package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// span is one incarnation as it was seen from outside: in the events, and by the child itself.
type span struct {
	*script
	order       int // of listing
	name        string
	incarnation uint64
	serve       int // in which Serve it was started

	started   time.Duration
	ready     time.Duration
	told      time.Duration
	abandoned time.Duration
	ended     time.Duration
	exited    bool  // by itself, or not ready in time
	err       error // of the exit
	failure   *Event
}

// history is a trace put in order.
type history struct {
	*trace
	spans  []*span
	byName map[string][]*span
}

func (sp *span) aliveAt(t time.Duration) bool {
	return sp.started <= t && (sp.ended == never || sp.ended > t)
}

// givenUp is when the supervisor need not wait for it any more.
func (sp *span) givenUp() time.Duration {
	if sp.abandoned != never {
		return sp.abandoned
	}
	return sp.ended
}

func newHistory(tr *trace) (*history, string) {
	h := &history{trace: tr, byName: map[string][]*span{}}
	order := map[*script]int{}
	for i := range tr.sc.kids {
		order[&tr.sc.kids[i]] = i
	}
	for i := range tr.sc.ops {
		order[&tr.sc.ops[i].kid] = 1000 + i
	}
	began := map[string][]sight{}
	for _, s := range tr.seen {
		if s.what == "began" {
			began[s.name] = append(began[s.name], s)
		}
	}
	for i := range tr.events {
		e := &tr.events[i]
		at := e.Time.Sub(tr.origin)
		if e.Child == "" {
			continue
		}
		list := h.byName[e.Child]
		if e.Kind == EventStarted {
			if len(list) >= len(began[e.Child]) {
				return nil, e.Child + ": started, but it did not begin"
			}
			kid := began[e.Child][len(list)].kid
			sp := &span{
				script: kid, order: order[kid], name: e.Child, incarnation: e.Incarnation,
				started: at, ready: never, told: never, abandoned: never, ended: never,
				serve: h.serveAt(at),
			}
			h.byName[e.Child] = append(list, sp)
			h.spans = append(h.spans, sp)
			continue
		}
		if len(list) == 0 {
			return nil, e.Child + ": an event before it was started"
		}
		sp := list[len(list)-1]
		if sp.incarnation != e.Incarnation {
			return nil, fmt.Sprintf("%s: event of incarnation %d during %d", e.Child, e.Incarnation, sp.incarnation)
		}
		// Event order per child: started, ready, abandoned, the end, back-off.
		var wrong bool
		switch e.Kind {
		case EventReady:
			wrong = sp.ready != never || sp.ended != never || sp.abandoned != never
			sp.ready = at
		case EventAbandoned:
			wrong = sp.abandoned != never || sp.ended != never
			sp.abandoned = at
		case EventExited, EventStopped:
			wrong = sp.ended != never
			sp.ended, sp.exited, sp.err = at, e.Kind == EventExited, e.Err
		case EventBackoff:
			wrong = !sp.exited || sp.failure != nil
			sp.failure = e
		}
		if wrong {
			return nil, fmt.Sprintf("%s: %v out of order", e.Child, e.Kind)
		}
	}
	for _, s := range tr.seen {
		if s.what != "told" {
			continue
		}
		for _, sp := range h.byName[s.name] {
			if sp.script == s.kid && sp.incarnation == uint64(s.life+1) {
				sp.told = s.at
			}
		}
	}
	return h, ""
}

func (h *history) serveAt(t time.Duration) int {
	n := 0
	for n < len(h.begun) && h.begun[n] <= t {
		n++
	}
	return n - 1
}

// ctxEnd is when the context of Serve i ended, or would have.
func (h *history) ctxEnd(i int) time.Duration { return h.begun[i] + h.sc.serves[i] }

// removedIn reports whether the removal of name was asked for from a to b.
func (h *history) removedIn(name string, a, b time.Duration) bool {
	return slices.ContainsFunc(h.sc.ops, func(o op) bool {
		return o.what == "remove" && o.name == name && a <= o.at && o.at <= b
	})
}

// closing is when Serve i began to shut down, as far as can be seen: when its context ended, or
// else the last failure before it returned.
func (h *history) closing(i int) time.Duration {
	end := h.ctxEnd(i)
	if i < len(h.returned) {
		end = min(end, h.returned[i])
	}
	for _, e := range h.events {
		if e.Child == "" && e.Incarnation == uint64(i+1) {
			// The children that were told to stop last were told after this.
			at := e.Time.Sub(h.origin)
			end = min(end, at)
		}
	}
	return end
}

// nextStart is when the successor of sp was started.
func (h *history) nextStart(sp *span) time.Duration {
	spans := h.byName[sp.name]
	if i := slices.Index(spans, sp); i+1 < len(spans) && spans[i+1].script == sp.script {
		return spans[i+1].started
	}
	return never
}

// cameBack reports whether sp follows an incarnation that an earlier Serve abandoned.
func (h *history) cameBack(sp *span) bool {
	spans := h.byName[sp.name]
	i := slices.Index(spans, sp)
	return i > 0 && spans[i-1].script == sp.script && spans[i-1].serve < sp.serve && spans[i-1].ended > h.begun[sp.serve]
}

// failedBefore reports whether another failure, of a child not after sp, explains that sp was told
// to stop.
func (h *history) failedBefore(sp *span, from, to time.Duration) bool {
	return slices.ContainsFunc(h.spans, func(f *span) bool {
		return f.exited && f.order <= sp.order && from <= f.ended && f.ended <= to
	}) || h.stoppingAt(sp.serve, to)
}

// stoppingAt reports whether Serve i was stopping at t because of a child: one that ended by
// itself, or was abandoned, and none was started after that.
func (h *history) stoppingAt(i int, t time.Duration) bool {
	quiet := slices.ContainsFunc(h.events, func(e Event) bool { return e.Child == "" && e.Incarnation == uint64(i+1) })
	if !quiet {
		return false
	}
	for _, sp := range h.spans {
		if sp.serve == i && sp.started > t {
			return false
		}
	}
	return slices.ContainsFunc(h.spans, func(sp *span) bool {
		return sp.serve <= i && (sp.exited && sp.failure == nil && sp.ended <= t || sp.abandoned != never && sp.abandoned <= t)
	})
}

// declared reports whether a child was given to New.
func (h *history) declared(k *script) bool {
	for i := range h.sc.kids {
		if &h.sc.kids[i] == k {
			return true
		}
	}
	return false
}
