package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// span is one incarnation as it was seen from outside: in the events, and by the
// child itself.
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

// closing is when Serve i began to shut down, as far as can be seen: when its
// context ended, or else the last failure before it returned.
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

// invariants are the rules that hold for every trace, checked without the model.
var invariants = []struct {
	rule  string
	check func(*history) string
}{
	{"one live incarnation per name, none beside an abandoned one", func(h *history) string {
		for name, spans := range h.byName {
			for i := 1; i < len(spans); i++ {
				if prev := spans[i-1]; prev.ended == never || prev.ended > spans[i].started {
					return fmt.Sprintf("%s#%d started beside its predecessor", name, spans[i].incarnation)
				}
			}
		}
		return ""
	}},
	{"incarnation numbers rise", func(h *history) string {
		for name, spans := range h.byName {
			for i, sp := range spans {
				want := uint64(1)
				if i > 0 && spans[i-1].script == sp.script {
					want = spans[i-1].incarnation + 1
				}
				if sp.incarnation != want {
					return fmt.Sprintf("%s: incarnation %d, want %d", name, sp.incarnation, want)
				}
			}
		}
		return ""
	}},
	{"children start in order, each after those before it are ready", func(h *history) string {
		for i := range h.begun {
			last, seen := -1, map[*script]bool{}
			var gate *span
			for _, sp := range h.spans {
				if sp.serve != i || seen[sp.script] {
					continue
				}
				seen[sp.script] = true
				if h.cameBack(sp) {
					continue // no part of the sequence
				}
				if sp.order < last {
					return fmt.Sprintf("%s started out of order", sp.name)
				}
				last = max(last, sp.order)
				if gate != nil && sp.order > gate.order && gate.ready == never && gate.ended == never && gate.told == never && gate.serve == i {
					return fmt.Sprintf("%s started before %s was ready", sp.name, gate.name)
				}
				if gate != nil && gate.ready > sp.started && sp.order > gate.order && gate.abandoned == never {
					return fmt.Sprintf("%s started before %s was ready", sp.name, gate.name)
				}
				if gate = nil; sp.child.AwaitReady {
					gate = sp
				}
			}
		}
		return ""
	}},
	{"shutdown stops in reverse order, one at a time", func(h *history) string {
		for i := range h.returned {
			for _, a := range h.spans {
				for _, b := range h.spans {
					if a.serve != i || b.serve != i || a.order >= b.order {
						continue
					}
					end := h.ctxEnd(i)
					if a.told < end || b.started > end || !b.aliveAt(end) || b.abandoned != never && b.abandoned < end {
						continue
					}
					if h.removedIn(a.name, a.started, a.told) {
						continue
					}
					if b.givenUp() == never || b.givenUp() > a.told {
						return fmt.Sprintf("%s told to stop before %s had ended", a.name, b.name)
					}
				}
			}
		}
		return ""
	}},
	{"OneForOne touches no sibling", func(h *history) string {
		if h.sc.spec.Strategy != OneForOne {
			return ""
		}
		for _, sp := range h.spans {
			if sp.told == never || sp.serve < 0 || h.removedIn(sp.name, sp.started, sp.told) {
				continue
			}
			timeout := sp.child.AwaitReady && sp.told == sp.started+sp.child.StartTimeout
			ended := sp.told >= h.ctxEnd(sp.serve) || h.stoppingAt(sp.serve, sp.told)
			if !timeout && !ended {
				return fmt.Sprintf("%s#%d was told to stop for no reason of its own", sp.name, sp.incarnation)
			}
		}
		return ""
	}},
	{"a group is restarted whole: exactly the children that belong to it, none before all have stopped", func(h *history) string {
		if h.sc.spec.Strategy == OneForOne {
			return ""
		}
		for _, f := range h.spans {
			if f.failure == nil {
				continue
			}
			for _, sp := range h.spans {
				member := sp.order >= f.order || h.sc.spec.Strategy == OneForAll
				next := h.nextStart(f)
				if next == never || sp == f || sp.serve != f.serve || !sp.aliveAt(f.ended) || sp.started == f.ended {
					continue
				}
				if member && (sp.ended == never || sp.ended > next) {
					return fmt.Sprintf("%s#%d still ran when the group of %s was started", sp.name, sp.incarnation, f.name)
				}
				if !member && sp.told != never && sp.told <= next && sp.told < h.closing(sp.serve) &&
					!h.removedIn(sp.name, sp.started, sp.told) && !h.failedBefore(sp, f.ended, sp.told) {
					return fmt.Sprintf("%s#%d was stopped for %s", sp.name, sp.incarnation, f.name)
				}
			}
		}
		return ""
	}},
	{"restart types", func(h *history) string {
		for _, sp := range h.spans {
			if sp.failure == nil {
				continue
			}
			isDone := sp.err != nil && errors.Is(sp.err, ErrDone)
			switch {
			case sp.child.Restart == Temporary,
				sp.child.Restart == Transient && sp.err == nil,
				isDone:
				return fmt.Sprintf("%s#%d, %v, is restarted after %v", sp.name, sp.incarnation, sp.child.Restart, sp.err)
			}
		}
		return ""
	}},
	{"every stretch of the window's length holds no more restarts than allowed", func(h *history) string {
		limit := h.sc.spec.MaxRestarts
		if limit == Unlimited {
			return ""
		}
		for i := range h.begun {
			var at []time.Duration
			for _, sp := range h.spans {
				if sp.failure != nil && sp.serve == i {
					at = append(at, sp.failure.Time.Sub(h.origin))
				}
			}
			slices.Sort(at)
			for j := range at {
				k := j
				for k < len(at) && at[k]-at[j] <= h.sc.spec.Within {
					k++
				}
				if k-j > max(0, limit) {
					return fmt.Sprintf("%d restarts within %v from %v", k-j, h.sc.spec.Within, at[j])
				}
			}
		}
		return ""
	}},
	{"a back-off is within its envelope, which shrinks only after health", func(h *history) string {
		b := h.sc.spec.Backoff
		for _, spans := range h.byName {
			fails := 0
			for i, sp := range spans {
				if i > 0 && (spans[i-1].script != sp.script || spans[i-1].serve != sp.serve) {
					fails = 0
				}
				if sp.failure == nil {
					continue
				}
				up := sp.started
				if sp.child.AwaitReady {
					up = sp.ready
				}
				if up != never && sp.ended-up >= b.ResetAfter {
					fails = 0
				}
				fails++
				d := envelope(b, fails)
				least := d - time.Duration(max(0, b.Jitter)*float64(d))
				if sp.failure.Delay < least || sp.failure.Delay > d {
					return fmt.Sprintf("%s waits for %v, not for %v to %v", sp.name, sp.failure.Delay, least, d)
				}
			}
		}
		return ""
	}},
	{"a failed child is started when its own delay is over, not later and not before", func(h *history) string {
		for _, sp := range h.spans {
			if sp.failure == nil {
				continue
			}
			due := sp.ended + sp.failure.Delay
			next := h.nextStart(sp)
			if next != never && next < due && h.serveAt(next) == sp.serve {
				return fmt.Sprintf("%s started before its delay was over", sp.name)
			}
			if h.sc.spec.Strategy == OneForOne && next != due && due < h.closing(sp.serve) &&
				!h.stoppingAt(sp.serve, due) && !h.removedIn(sp.name, sp.ended, due) {
				return fmt.Sprintf("%s not started when its delay was over", sp.name)
			}
		}
		return ""
	}},
	{"nothing starts after shutdown began or between Serves", func(h *history) string {
		for _, sp := range h.spans {
			if sp.serve < 0 || sp.started >= h.ctxEnd(sp.serve) ||
				sp.serve < len(h.returned) && sp.started > h.returned[sp.serve] {
				return fmt.Sprintf("%s#%d started after the end", sp.name, sp.incarnation)
			}
		}
		return ""
	}},
	{"nothing starts once its removal was asked for", func(h *history) string {
		for _, r := range h.removes {
			for i, sp := range h.byName[r.name] {
				if i > 0 && sp.script == h.byName[r.name][i-1].script && h.byName[r.name][i-1].started <= r.called && sp.started > r.called &&
					errors.Is(r.err, nil) && sp.incarnation > 1 && !h.declared(sp.script) {
					return fmt.Sprintf("%s#%d started after its removal", sp.name, sp.incarnation)
				}
			}
		}
		return ""
	}},
	{"what lives on after Serve is named in its error", func(h *history) string {
		n := 0
		for _, r := range h.results {
			at, text, _ := strings.Cut(r, " ")
			if !strings.HasPrefix(text, "serve: ") {
				continue
			}
			done, _ := time.ParseDuration(at)
			for _, sp := range h.spans {
				if sp.serve <= n && sp.aliveAt(done) && !strings.Contains(text, sp.name) {
					return fmt.Sprintf("%s#%d lives on", sp.name, sp.incarnation)
				}
			}
			n++
		}
		return ""
	}},
	{"shutdown takes no longer than all graces together", func(h *history) string {
		for i, at := range h.returned {
			var graces time.Duration
			if h.sc.hook == hookBlocks {
				graces = HookGrace
			}
			for _, sp := range h.spans {
				if sp.serve == i && sp.aliveAt(h.ctxEnd(i)-1) {
					graces += sp.child.Grace
				}
			}
			if at > h.ctxEnd(i)+graces {
				return fmt.Sprintf("shutdown took %v", at-h.ctxEnd(i))
			}
		}
		return ""
	}},
	{"abandoned exactly when the grace is over", func(h *history) string {
		for _, sp := range h.spans {
			// A child that hangs does not see that it is told.
			if sp.abandoned != never && sp.told != never && sp.abandoned != sp.told+sp.child.Grace {
				return fmt.Sprintf("%s abandoned after %v", sp.name, sp.abandoned-sp.told)
			}
			if sp.told != never && sp.ended > sp.told+sp.child.Grace && sp.abandoned == never {
				return fmt.Sprintf("%s had more than its grace", sp.name)
			}
		}
		return ""
	}},
	{"escalation and the end are told once, after every child has ended or was abandoned", func(h *history) string {
		escalated, ended := map[uint64]int{}, map[uint64]int{}
		for _, e := range h.events {
			if e.Child != "" {
				continue
			}
			if e.Kind == EventEscalated {
				escalated[e.Incarnation]++
			} else {
				ended[e.Incarnation]++
			}
			for _, sp := range h.spans {
				at := e.Time.Sub(h.origin)
				if sp.started <= at && sp.serve == int(e.Incarnation)-1 && (sp.givenUp() == never || sp.givenUp() > at) {
					return fmt.Sprintf("%v while %s was alive", e.Kind, sp.name)
				}
			}
		}
		for i := range h.returned {
			if n := uint64(i + 1); escalated[n] > 1 || ended[n] != 1 {
				return fmt.Sprintf("Serve %d escalated %d times and ended %d times", n, escalated[n], ended[n])
			}
		}
		return ""
	}},
	{"a Serve that ends early with no error was ended by a significant child itself", func(h *history) string {
		if h.sc.hook == hookBlocks {
			return ""
		}
		for i, at := range h.returned {
			quiet := !slices.ContainsFunc(h.events, func(e Event) bool {
				return e.Kind == EventEscalated && e.Incarnation == uint64(i+1)
			})
			if at < h.ctxEnd(i) && quiet && !slices.ContainsFunc(h.spans, func(sp *span) bool {
				return sp.serve == i && sp.child.Significant && sp.exited && h.sc.spec.AutoShutdown != Never
			}) {
				return fmt.Sprintf("Serve %d ended for nothing", i+1)
			}
		}
		return ""
	}},
	{"OnEvent hears everything in order", func(h *history) string {
		if h.sc.hook != hookListens {
			return ""
		}
		if len(h.told) != len(h.events) {
			return fmt.Sprintf("%d of %d events", len(h.told), len(h.events))
		}
		for i, e := range h.told {
			if e.Seq != uint64(i+1) || e.Kind != h.events[i].Kind || e.Child != h.events[i].Child || e.Lost != 0 {
				return fmt.Sprintf("event %d is %v", i+1, e)
			}
		}
		return ""
	}},
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

// failedBefore reports whether another failure, of a child not after sp, explains
// that sp was told to stop.
func (h *history) failedBefore(sp *span, from, to time.Duration) bool {
	return slices.ContainsFunc(h.spans, func(f *span) bool {
		return f.exited && f.order <= sp.order && from <= f.ended && f.ended <= to
	}) || h.stoppingAt(sp.serve, to)
}

// stoppingAt reports whether Serve i was stopping at t because of a child: one that
// ended by itself, or was abandoned, and none was started after that.
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

// broken returns the first rule that the trace breaks, or nothing.
func broken(tr *trace) string {
	h, err := newHistory(tr)
	if err != "" {
		return err
	}
	for _, rule := range invariants {
		if err := rule.check(h); err != "" {
			return fmt.Sprintf("not so: %s: %s", rule.rule, err)
		}
	}
	return ""
}
