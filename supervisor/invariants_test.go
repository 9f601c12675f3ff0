package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

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
