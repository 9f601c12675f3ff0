package reconcile

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"pgregory.net/rapid"
)

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, standby: rapid.Bool().Draw(t, "standby"), live: make(map[*Call]bool), topics: make(map[string]int),
		control: make(map[string]*Channel), woken: make(map[*Session]bool), sources: make(map[*Channel]connkey.Key),
		started: make(map[*Channel]bool), later: make(map[connkey.Class][]int),
	}
	if rapid.Bool().Draw(t, "dedicated") {
		w.classes = connkey.NewClasses("t1", "t4")
	}
	for i := range w.shape.owners {
		w.shape.owners[i] = i % shardCount
	}
	w.actual = w.shape.snapshot(t)
	w.known = w.actual
	w.r = New(w, w.classes, w)
	for i := range shardCount {
		for class := range w.classes.All() {
			w.connect(connkey.Key{Addr: node(i, 0).Addr, Class: class})
		}
	}
	return w
}

// actions are everything that may happen.
func (w *world) actions() map[string]func(*rapid.T) {
	aConn := func(t *rapid.T, is func(*conn) bool) *conn {
		some := slices.DeleteFunc(slices.Clone(w.conns), func(c *conn) bool { return !is(c) })
		if len(some) == 0 {
			t.Skip()
		}
		return rapid.SampledFrom(some).Draw(t, "connection")
	}
	aTopic := func(t *rapid.T) string { return fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "topic")) }
	all := map[string]func(*rapid.T){
		"subscribe": func(t *rapid.T) {
			c := new(Call)
			placement := placementOf(aTopic(t), rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "partitions"))
			c.Init(placement)
			first := w.topics[placement.Topic] == 0
			if first {
				w.topics[placement.Topic] = placement.Partitions + 1
			}
			w.calls = append(w.calls, c)
			w.live[c] = true
			if w.r.Subscribe(c, time.Time{}) != first {
				t.Fatalf("first: %v", !first)
			}
		},
		"cancel": func(t *rapid.T) {
			if len(w.calls) == 0 {
				t.Skip()
			}
			c := rapid.SampledFrom(w.calls).Draw(t, "call")
			was := hasEnded(c)
			if err := w.r.Cancel(c, errCancelled); err != nil && (!hasEnded(c) || !was && !errors.Is(c.Err(), errCancelled)) {
				t.Fatalf("cancelled: %v, ended %v", err, hasEnded(c))
			}
		},
		"unsubscribe": func(t *rapid.T) {
			name := aTopic(t)
			unwanted, was := w.r.Unsubscribe(name, errRemoved)
			w.removed(name, unwanted, was)
		},
		"control channel": func(t *rapid.T) {
			name := rapid.SampledFrom([]string{"{a}:i", "{b}:i", "{c}:i"}).Draw(t, "name")
			if ch := w.control[name]; ch != nil {
				delete(w.control, name)
				delete(w.started, ch)
				w.r.Unwant(ch)
				return
			}
			key := ChannelKey{Name: name}
			if name == "{b}:i" { // an inbox for answers on a dedicated topic
				key.Class = w.classes.Of("t1")
			}
			ch := w.r.Channel(key)
			if ch == nil {
				ch = new(Channel)
				ch.Init(nil, Inbox, key, router.Slot(name))
			}
			w.control[name] = ch
			if w.r.Want(ch); !ch.unconfirmed() {
				w.started[ch] = true
			}
		},
		"ask": func(t *rapid.T) { w.ask(aConn(t, func(c *conn) bool { return w.woken[&c.Session] })) },
		"refuse": func(t *rapid.T) {
			w.serve(aConn(t, func(c *conn) bool { return len(c.commands) > 0 }), rapid.SampledFrom([]pushKind{busy, denied}).Draw(t, "how"))
		},
		"serve": func(t *rapid.T) { w.serve(aConn(t, func(c *conn) bool { return len(c.commands) > 0 }), subscribed) },
		"retry": func(*rapid.T) { w.retry() },
		"move slots": func(t *rapid.T) {
			w.shape.owners[rapid.IntRange(0, rangeCount-1).Draw(t, "range")] = rapid.IntRange(0, shardCount).Draw(t, "to")
			w.reshape()
		},
		"fail over": func(t *rapid.T) {
			i := rapid.IntRange(0, shardCount-1).Draw(t, "shard")
			w.shape.swapped[i], w.shape.alone[i] = !w.shape.swapped[i], rapid.Bool().Draw(t, "alone")
			w.reshape()
		},
		"learn": func(*rapid.T) { w.learn() },
		"connect": func(t *rapid.T) {
			w.connect(w.anyKey(t, rapid.IntRange(0, shardCount-1).Draw(t, "shard"), rapid.IntRange(0, 1).Draw(t, "node")))
		},
		"lose a connection": func(t *rapid.T) {
			w.disconnect(aConn(t, func(*conn) bool { return true }))
		},
		"unreachable": func(t *rapid.T) {
			w.r.Unreachable(w.anyKey(t, rapid.IntRange(0, shardCount-1).Draw(t, "shard"), 0), errForbidden)
		},
		"release": func(t *rapid.T) {
			if len(w.held) == 0 {
				t.Skip()
			}
			Release(w.held[0])
			w.held = w.held[1:]
		},
		"": w.check,
	}
	hear := func(t *rapid.T) {
		c := aConn(t, func(c *conn) bool { return len(c.pushes) > 0 })
		for range rapid.IntRange(1, len(c.pushes)).Draw(t, "pushes") {
			w.hear(c)
		}
	}
	all["hear"], all["hear more"] = hear, hear
	for name, act := range all {
		if name != "" {
			all[name] = func(t *rapid.T) { w.t = t; act(t) }
		}
	}
	return all
}

// TestConverges: whatever is subscribed, cancelled and unsubscribed, confirmed, refused and redirected, moved, promoted,
// connected and lost, and in whatever order that is noticed: each Subscribe ends once, when all that it waits for has come
// or with the first error; none is kept in a list; and when it is over, the servers have what is wanted, at the owners and
// the replicas, and nothing else.
func TestConverges(t *testing.T) {
	for range 5 { // rapid.checks each: what goes wrong takes several coincidences
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			t.Repeat(w.actions())
			w.t = t
			w.settle()
			w.check(t)
			w.settled()
		})
	}
}
