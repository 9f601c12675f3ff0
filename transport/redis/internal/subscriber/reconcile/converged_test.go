package reconcile

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"pgregory.net/rapid"
)

// check compares the lists with the calls: each that waits for a confirmation is in the list of its topic and of those
// channels, and nobody else is anywhere. Nothing is kept of what is neither wanted nor subscribed.
func (w *world) check(t *rapid.T) {
	w.t = t
	w.callers()
	inLists, unconfirmed := make(map[*Call]int32), make(map[*Channel]struct{})
	for name, ch := range w.r.channels {
		if on := ch.confirmedOn; on != nil && on.Class != ch.class {
			t.Fatalf("%v is confirmed on %v", name, on.Key)
		}
		if ch.refs > 0 && ch.confirmedOn == nil {
			unconfirmed[ch] = struct{}{}
		}
		for at := ch.waiting; at != nil; at = at.next {
			inLists[at.call]++
			if !ch.unconfirmed() {
				t.Fatalf("somebody waits for %v, which is confirmed", name)
			}
		}
		if ch.refs == 0 && ch.Unsubscribed() {
			t.Fatalf("%v is left behind", name)
		}
	}
	if !maps.Equal(w.r.unconfirmed, unconfirmed) {
		t.Fatalf("%d channels are not confirmed, %d are listed", len(unconfirmed), len(w.r.unconfirmed))
	}
	listed := make(map[*Call]bool)
	for _, topic := range w.r.topics {
		for c := topic.waiting; c != nil; c = c.next {
			listed[c] = true
			if c.topic != topic {
				t.Fatal("a call is listed at another topic")
			}
		}
	}
	for _, c := range w.calls {
		if c.unconfirmed != inLists[c] || listed[c] != (c.unconfirmed > 0) || c.unconfirmed > 0 && hasEnded(c) {
			t.Fatalf("a call waits for %d channels and is in %d lists, at its topic: %v; it ended: %v",
				c.unconfirmed, inLists[c], listed[c], hasEnded(c))
		}
		delete(inLists, c)
	}
	if len(inLists) > 0 {
		t.Fatal("somebody waits whom nobody knows")
	}
	for _, c := range w.conns {
		if w.r.outOfSync[c.Key] != nil && !w.woken[&c.Session] {
			t.Fatalf("%v has something to do and sleeps", c.Key)
		}
	}
}

// settle lets everything pass that is on its way, with servers that refuse nothing, until nothing changes any more.
func (w *world) settle() {
	for i := range w.shape.owners {
		if w.shape.owners[i] == shardCount {
			w.shape.owners[i] = 0
		}
	}
	w.reshape()
	w.learn()
	needed := w.needed()
	for _, c := range slices.Clone(w.conns) {
		if !needed[c.Addr] {
			w.disconnect(c)
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(needed)) {
		for class := range w.classes.All() {
			if needed[addr] {
				w.connect(connkey.Key{Addr: addr, Class: class})
			}
		}
	}
	for round := 0; ; round++ {
		if round == 100 {
			w.t.Fatal("it does not settle")
		}
		busy := len(w.later) > 0
		w.retry()
		for _, c := range w.conns {
			w.ask(c)
			for len(c.commands) > 0 {
				w.serve(c, subscribed)
			}
			for busy = busy || len(c.pushes) > 0; len(c.pushes) > 0; {
				w.hear(c)
			}
		}
		if round == 1 {
			w.r.EndRedirects(time.Time{}.Add(redirectFor))
			busy = true
		}
		for _, waiters := range w.held {
			Release(waiters)
		}
		w.held = nil
		w.callers()
		if !busy {
			return
		}
	}
}

// settled compares what is wanted with what the servers have.
func (w *world) settled() {
	wanted := make(map[ChannelKey]Kind)
	for name, partitions := range w.topics {
		placement := placementOf(name, partitions-1)
		for i := range placement.Len() {
			wanted[ChannelKey{Name: placement.Channel(i), Class: w.classes.Of(name)}] = Event
		}
	}
	for _, ch := range w.control {
		wanted[ch.key()] = Inbox
	}
	for name, ch := range w.r.channels {
		if ch.kind == Watermark {
			wanted[name] = Watermark
		}
		if _, is := wanted[name]; !is || ch.refs == 0 {
			w.t.Fatalf("%v is listed, and wanted by %d", name, ch.refs)
		}
	}
	replicas := w.Replicas()
	for key, kind := range wanted {
		name := key.Name
		ch, owner := w.r.channels[key], w.Owner(router.Slot(name))
		if ch == nil {
			w.t.Fatalf("%v is forgotten", key)
		}
		if ch.confirmedOn == nil || ch.confirmedOn.Addr != owner || ch.pendingOn != nil || ch.unsubscribing {
			w.t.Fatalf("%s is confirmed on %v, asked for on %v; want %s", name, ch.confirmedOn, ch.pendingOn, owner)
		}
		if w.sources[ch] != (connkey.Key{Addr: owner, Class: key.Class}) || !w.started[ch] {
			w.t.Fatalf("%s: the source is %v, want %s; started: %v", name, w.sources[ch], owner, w.started[ch])
		}
		at := []string{owner}
		if kind == Event || kind == Watermark {
			at = append(at, replicas[owner]...)
		}
		n := 0
		for c := ch.replicas; c != nil; c = c.next {
			if n++; c.state != replicaConfirmed || !slices.Contains(at, c.session.Addr) {
				w.t.Fatalf("%s: state %d at %s, want it at %v", name, c.state, c.session.Addr, at)
			}
		}
		if n+1 != len(at) {
			w.t.Fatalf("%s is confirmed at %d replicas, want %v", name, n, at)
		}
		for _, c := range w.conns {
			if c.Class == key.Class && c.has[name] != slices.Contains(at, c.Addr) {
				w.t.Fatalf("%s: the server has it on %v: %v, want it at %v", name, c.Key, c.has[name], at)
			}
		}
	}
	for _, c := range w.conns {
		for name := range c.has {
			if _, is := wanted[ChannelKey{Name: name, Class: c.Class}]; !is {
				w.t.Fatalf("%v has %s, which nobody wants", c.Key, name)
			}
		}
	}
	if len(w.r.topics) != len(w.topics) || w.r.Unconfirmed() != nil {
		w.t.Fatalf("%d topics, want %d; unconfirmed: %v", len(w.r.topics), len(w.topics), w.r.Unconfirmed())
	}
	for i, c := range w.calls {
		if !hasEnded(c) {
			w.t.Fatalf("call %d for %v waits for ever", i, c.placement)
		}
		if err := c.Err(); err != nil && !errors.Is(err, errRemoved) && !errors.Is(err, errAbandoned) && !errors.Is(err, errCancelled) &&
			!errors.Is(err, errForbidden) && !errors.Is(err, transport.ErrInvalidTopic) {
			w.t.Fatalf("call %d: %v", i, err)
		}
	}
}
