package redis

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"pgregory.net/rapid"
)

// awaitRig is a registry with two nodes, its Subscribe calls, and what answers greetings.
type awaitRig struct {
	tr    *Transport
	now   time.Time
	feeds []*feed
	calls []*await
	asked map[*feed][]string // and not confirmed or refused
}

func newAwaitRig(t *rapid.T) *awaitRig {
	cfg, err := Config{Addrs: []string{"h"}}.resolved()
	if err != nil {
		t.Fatal(err)
	}
	half := router.Slots / 2
	snapshot, err := router.NewSnapshot([]router.Shard{
		{Primary: node(1), Slots: []router.SlotRange{{From: 0, To: half - 1}}},
		{Primary: node(2), Slots: []router.SlotRange{{From: half, To: router.Slots - 1}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &awaitRig{
		tr: newTransport(cfg, discovery{cluster: true, snapshot: snapshot}), now: time.Unix(1e6, 0), asked: make(map[*feed][]string),
	}
	r.tr.repairs.greetings.attend(true)
	for i := 1; i <= 2; i++ {
		r.attach(node(i).Addr)
	}
	return r
}

func (r *awaitRig) attach(addr string) {
	f := newFeed(r.tr, addr)
	r.tr.registry.attach(f)
	r.feeds = append(r.feeds, f)
}

// take has a feed ask for what it is to ask for.
func (r *awaitRig) take(f *feed) {
	for _, todo := range r.tr.registry.tasks(f) {
		r.asked[f] = append(r.asked[f], todo.enter...)
		for _, name := range todo.leave {
			r.tr.registry.released(f, name)
		}
	}
}

func (r *awaitRig) confirm(f *feed, n int) {
	var all []happening
	for _, name := range r.asked[f][:n] {
		all = append(all, happening{kind: gotSubscribed, channel: name})
	}
	r.asked[f] = r.asked[f][n:]
	r.tr.registry.confirmed(f, all, r.now, func(string, *channel) {})
}

// answer ends all greetings, as answers do.
func (r *awaitRig) answer() {
	g := &r.tr.repairs.greetings
	for {
		n := r.tr.repairs.question.Add(1)
		if len(g.begin(r.now, n, "s").Channels) == 0 {
			return
		}
		g.told(r.now, n, 0, nil)
	}
}

func ended(a *await) bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// check compares the lists with the calls: each that waits for a confirmation is in the list of its topic and of those
// channels, and nobody else is anywhere.
func (r *awaitRig) check(t *rapid.T) {
	reg := r.tr.registry
	reg.lock()
	defer reg.mu.Unlock()
	inLists := make(map[*await]int32)
	unconfirmed := make(map[*channel]struct{})
	for _, ch := range reg.mu.channels {
		if ch.users > 0 && ch.home == nil {
			unconfirmed[ch] = struct{}{}
		}
		for w := ch.waiting; w != nil; w = w.next {
			inLists[w.await]++
			if !ch.away() {
				t.Fatalf("somebody waits for %s, which is confirmed", ch.name)
			}
		}
		if ch.users == 0 && ch.nowhere() {
			t.Fatalf("%s is left behind", ch.name)
		}
	}
	if !maps.Equal(reg.mu.unconfirmed, unconfirmed) {
		t.Fatalf("%d channels are not confirmed, %d are listed", len(unconfirmed), len(reg.mu.unconfirmed))
	}
	listed := make(map[*await]bool)
	for _, state := range reg.mu.topics {
		for a := state.waiting; a != nil; a = a.next {
			listed[a] = true
			if a.topic != state {
				t.Fatal("a call is listed at another topic")
			}
		}
	}
	for _, a := range r.calls {
		if a.open != inLists[a] || listed[a] != (a.open > 0) || a.open > 0 && ended(a) {
			t.Fatalf("a call waits for %d channels and is in %d lists, at its topic: %v; it ended: %v", a.open, inLists[a], listed[a], ended(a))
		}
		delete(inLists, a)
	}
	if len(inLists) > 0 {
		t.Fatal("somebody waits whom nobody knows")
	}
}

// TestAwaits: whatever calls do and happens to their channels, each ends once: when all that it waits for has come, or
// with the first error; and none is kept in a list.
func TestAwaits(t *testing.T) {
	errCancelled, errForbidden := errors.New("cancelled"), errors.New("forbidden")
	rapid.Check(t, func(t *rapid.T) {
		r := newAwaitRig(t)
		reg := r.tr.registry
		aCall := func(t *rapid.T) *await {
			if len(r.calls) == 0 {
				t.Skip()
			}
			return rapid.SampledFrom(r.calls).Draw(t, "call")
		}
		aFeed := func(t *rapid.T) *feed { return rapid.SampledFrom(r.feeds).Draw(t, "feed") }
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				topic := fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "topic"))
				a := newAwait(router.Placement{Topic: topic, Partitions: rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "partitions")})
				r.calls = append(r.calls, a)
				if rapid.Bool().Draw(t, "in line") { // somebody else takes it in
					a.next = reg.entering.Load()
					reg.entering.Store(a)
				} else {
					reg.enter(a)
				}
			},
			"cancel": func(t *rapid.T) {
				a := aCall(t)
				was := ended(a)
				if err := reg.cancel(a, errCancelled); err != nil {
					reg.abandon(a)
					if !ended(a) || !was && errors.Is(err, errCancelled) != errors.Is(a.err, errCancelled) {
						t.Fatalf("cancelled: %v, ended %v with %v", err, ended(a), a.err)
					}
				}
			},
			"unsubscribe": func(t *rapid.T) {
				reg.unwant(fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "topic")), errUnsubscribed)
			},
			"ask": func(t *rapid.T) { r.take(aFeed(t)) },
			"confirm": func(t *rapid.T) {
				f := aFeed(t)
				r.confirm(f, rapid.IntRange(0, len(r.asked[f])).Draw(t, "n"))
			},
			"refuse": func(t *rapid.T) {
				f := aFeed(t)
				if len(r.asked[f]) == 0 {
					t.Skip()
				}
				name := r.asked[f][0]
				r.asked[f] = r.asked[f][1:]
				reg.refused(f, []string{name}, rapid.SampledFrom([]error{nil, errForbidden}).Draw(t, "final"))
				reg.mark([]int{router.Slot(name)})
			},
			"lose a connection": func(t *rapid.T) {
				i := rapid.IntRange(0, len(r.feeds)-1).Draw(t, "feed")
				f := r.feeds[i]
				reg.detach(f)
				delete(r.asked, f)
				r.feeds = append(r.feeds[:i:i], r.feeds[i+1:]...)
				r.attach(f.addr)
			},
			"answer":    func(*rapid.T) { r.answer() },
			"no answer": func(*rapid.T) { r.now = r.now.Add(greetWait); settle(r.tr.repairs.greetings.expire(r.now)) },
			"":          r.check,
		})
		for range 3 { // in the end all comes
			for _, f := range r.feeds {
				r.take(f)
				r.confirm(f, len(r.asked[f]))
			}
		}
		for range 2 * greetTries {
			r.answer()
			r.now = r.now.Add(greetWait)
			settle(r.tr.repairs.greetings.expire(r.now))
		}
		r.check(t)
		for i, a := range r.calls {
			if !ended(a) {
				t.Fatalf("call %d waits for ever", i)
			}
			if a.err != nil && a.mine && !errors.Is(a.err, errUnsubscribed) && !errors.Is(a.err, errAbandoned) &&
				!errors.Is(a.err, errCancelled) && !errors.Is(a.err, errForbidden) && !errors.Is(a.err, transport.ErrInvalidTopic) {
				t.Fatalf("call %d: %v", i, a.err)
			}
		}
		g := &r.tr.repairs.greetings
		if len(g.pending) > 0 || len(g.open) > 0 || g.sending != 0 {
			t.Fatalf("left of greetings: %d pending, %d open, %d on their way", len(g.pending), len(g.open), g.sending)
		}
		reg.lock()
		defer reg.mu.Unlock()
		for name, ch := range reg.mu.channels {
			if ch.greeting != nil {
				t.Fatalf("%s is not greeted", name)
			}
			if ch.kind == watermarkChannel && name != wire.WatermarkChannel(int(ch.slot)) {
				t.Fatalf("%s is of slot %d", name, ch.slot)
			}
		}
	})
}
