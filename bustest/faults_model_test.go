package bustest_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

// world is a model of one publisher and one subscriber on a broker: what each event
// leads to, told plainly.
type world struct {
	events  int
	seq     uint64
	heard   []string
	lost    map[uint64]bool
	missed  map[uint64]bool
	cut     bool // publisher and subscriber are severed
	down    bool // the subscriber is disconnected
	faults  []modelFault
	delayed []string
}

type modelFault struct {
	kind string
	left int
	held []string
}

// write is an event at the broker.
func (w *world) write(id string) {
	w.seq++
	if w.cut || w.down {
		w.missed[w.seq] = true
		return
	}
	w.heard = append(w.heard, id)
}

// publish is one event; it returns whether Publish fails.
func (w *world) publish(id string) (fails bool) {
	i := slices.IndexFunc(w.faults, func(f modelFault) bool { return f.left > 0 })
	if i < 0 {
		w.write(id)
		return false
	}
	f := &w.faults[i]
	f.left--
	switch f.kind {
	case "drop":
		if w.cut || w.down {
			w.write(id)
			return false
		}
		w.seq++
		w.lost[w.seq] = true
	case "duplicate":
		w.write(id)
		w.write(id)
	case "reorder":
		if f.held = append(f.held, id); f.left == 0 {
			for _, h := range slices.Backward(f.held) {
				w.write(h)
			}
		}
	case "delay":
		w.delayed = append(w.delayed, id)
	case "fail":
		return true
	case "reply":
		w.write(id)
		return true
	}
	return false
}

// numbers expands gaps.
func numbers(gaps []bus.Gap, reason transport.GapReason) map[uint64]bool {
	all := make(map[uint64]bool)
	for _, g := range gaps {
		for n := g.From; g.Reason == reason && n <= g.To; n++ {
			all[n] = true
		}
	}
	return all
}

// Whatever faults do in whatever order, subscribers hear what the model says, every
// number that is not heard lies in a gap, and nothing is in both.
func TestFaultsAgainstAModel(t *testing.T) {
	errNo := errors.New("no")
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			a := bustest.New(t)
			b := bustest.New(t, bustest.SharedWith(a))
			sub := listen(t, b)
			topic := topicOf(t, a, orders)
			w := &world{lost: make(map[uint64]bool), missed: make(map[uint64]bool)}
			set := func(kind string, set func(n int)) func(*rapid.T) {
				return func(rt *rapid.T) {
					n := rapid.IntRange(1, 3).Draw(rt, "n")
					set(n)
					w.faults = append(w.faults, modelFault{kind: kind, left: n})
				}
			}
			rt.Repeat(map[string]func(*rapid.T){
				"publish": func(rt *rapid.T) {
					w.events++
					id := fmt.Sprint(w.events)
					err := topic.Publish(t.Context(), order{ID: id})
					if fails := w.publish(id); fails != (err != nil) {
						rt.Errorf("Publish: %v, want an error: %v", err, fails)
					}
				},
				"drop":      set("drop", func(n int) { a.DropNext("orders", n) }),
				"duplicate": set("duplicate", func(n int) { a.Duplicate("orders", n) }),
				"reorder":   set("reorder", func(n int) { a.Reorder("orders", n) }),
				"delay":     set("delay", func(n int) { a.Delay("orders", n, time.Minute) }),
				"fail":      set("fail", func(n int) { a.FailPublish("orders", n, errNo) }),
				"reply":     set("reply", func(n int) { a.LoseReply("orders", n, errNo) }),
				"sever":     func(*rapid.T) { bustest.Sever(a, b); w.cut = true },
				"heal":      func(*rapid.T) { bustest.Heal(a, b); w.cut = false },
				"cut off":   func(*rapid.T) { b.Disconnect(); w.down = true },
				"reconnect": func(*rapid.T) { b.Reconnect(); w.down = false },
				"wait": func(*rapid.T) {
					time.Sleep(time.Minute)
					synctest.Wait()
					for _, id := range w.delayed {
						w.write(id)
					}
					w.delayed = nil
				},
			})
			bustest.Heal(a, b)
			b.Reconnect()
			synctest.Wait()
			if got := ids(bustest.Handled(t, b, orders, "audit")); got != joined(w.heard) {
				rt.Errorf("heard %q, want %q", got, joined(w.heard))
			}
			if got := numbers(sub.Gaps(), transport.Unknown); fmt.Sprint(got) != fmt.Sprint(w.lost) {
				rt.Errorf("lost %v, want %v", got, w.lost)
			}
			if got := numbers(sub.Gaps(), transport.Disconnected); fmt.Sprint(got) != fmt.Sprint(w.missed) {
				rt.Errorf("missed %v, want %v", got, w.missed)
			}
			if st := sub.Stats(); int(st.Handled)+len(w.lost)+len(w.missed) != int(w.seq) {
				rt.Errorf("%d were assigned: %v", w.seq, st)
			}
		})
	})
}
