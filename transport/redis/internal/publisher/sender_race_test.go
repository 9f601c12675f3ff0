package publisher

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestSenderAtOnce has writers of several nodes and classes, callers that leave, new topologies,
// MOVED, fail-overs and questions all at once. Every call ends, each number is accepted, abandoned
// or failed, and nothing is left in the queues.
func TestSenderAtOnce(t *testing.T) {
	const callers, calls, publisher = 6, 300, "0123456789abcdef"
	cfg := testSettings()
	cfg.QueueEvents, cfg.Standby = 40, true
	cfg.Classes = connkey.NewClasses("hot")
	addrs := []string{"a:1", "b:1", "c:1"}
	topology := func(n int) *router.Snapshot {
		shards := make([]router.Shard, len(addrs))
		for i, addr := range addrs {
			at := (i + n) % len(addrs)
			shards[i] = router.Shard{
				Primary:  router.Node{Addr: addr, ID: addr},
				Replicas: []router.Node{{Addr: "r" + addr, ID: "r" + addr}},
				Slots:    []router.SlotRange{{From: at * 3, To: at*3 + 2}},
			}
		}
		s, err := router.NewSnapshot(shards)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	top := newFakeCluster(topology(0))
	o := newSender(&cfg, top)
	ctx, stop := context.WithCancel(t.Context())
	var publishing, others sync.WaitGroup

	for _, addr := range append([]string{"ra:1", "rb:1", "rc:1"}, addrs...) {
		for class := range cfg.Classes.All() {
			others.Go(func() { writeSome(ctx, o, connkey.Key{Addr: addr, Class: class}, addrs) })
		}
	}
	beside := []func(){
		func() { top.snapshot.Store(topology(rand.IntN(3))); o.applyTopology() },
		func() { o.expireRedirects(time.Now().Add(time.Second)) },
		func() { o.NodeFailed(connkey.Key{Addr: addrs[rand.IntN(3)], Class: connkey.Class(rand.IntN(2))}) },
		func() { o.nodeAccepts(connkey.Key{Addr: addrs[rand.IntN(3)]}) },
		func() { o.nodeReports(addrs[rand.IntN(3)], false) },
		func() { o.HastenWatermarks(); o.ExpireWindows(time.Now()); o.Publishers() },
		func() {
			o.Retransmit(time.Now(), publisher, wire.Nack{Streams: []wire.Missing{{Channel: "0", Numbers: "1-100"}, {Channel: "8", Numbers: "1-9"}}}, 1<<20)
			o.AnswerBaseline(time.Now(), wire.BaselineRequest{Channels: []string{"1", "2"}})
			o.Positions("3", 3, func(_ string, resolved, assigned uint64) {
				if resolved > assigned {
					t.Errorf("%d of %d numbers are resolved", resolved, assigned)
				}
			})
		},
	}
	for _, f := range beside {
		others.Go(func() {
			for tick := time.NewTicker(200 * time.Microsecond); ctx.Err() == nil; <-tick.C {
				f()
			}
		})
	}
	for range callers {
		publishing.Go(func() {
			for range calls {
				publishSome(t, o, publisher)
			}
		})
	}
	publishing.Wait()
	stop()
	others.Wait()
	o.close(transport.ErrClosed)
	o.forget()
	if n := len(o.mu.queues) + len(o.mu.bySlot); n > 0 {
		t.Errorf("%d channel queues are left", n)
	}
	for key, l := range o.mu.nodes {
		if l.events != 0 || l.bytes != 0 || l.inFlight != 0 || l.largeInFlight != 0 || len(l.queues) > 0 || l.readyCount.Load() != 0 {
			t.Errorf("%v: %d events, %d bytes, %d in flight are left", key, l.events, l.bytes, l.inFlight)
		}
	}
	for class, m := range o.memories {
		if m.memory.Events() != 0 || m.memory.Bytes() != 0 {
			t.Errorf("class %d remembers %d events", class, m.memory.Events())
		}
	}
}

// publishSome publishes a few events, and leaves before their end now and then.
func publishSome(t *testing.T, o *sender, publisher string) {
	c := new(callPool).get(make([]transport.Result, 1+rand.IntN(5)))
	for i := range c.events {
		slot := rand.IntN(9)
		to := route{channel: fmt.Sprint(slot), slot: slot, class: connkey.Class(slot % 2)}
		c.events[i] = pendingEvent{env: &transport.Envelope{Topic: to.channel, Publisher: publisher}, route: to, caller: c, index: i, size: 10}
		if rand.IntN(20) == 0 {
			c.events[i].size = largeEvent
		}
	}
	limit := time.After(time.Duration(1+rand.IntN(200)) * time.Millisecond)
	for next := 0; ; {
		w, n, space, err := o.push(c, next)
		if w != nil {
			w.tryWrite(true, false)
		}
		if next = n; err != nil {
			t.Error(err)
			return
		}
		if space == nil {
			break
		}
		select {
		case <-space:
		case <-limit:
			o.abandon(c, errGone)
			return
		}
	}
	select {
	case <-c.done:
		for i, r := range c.results {
			if (r.Err == nil) != (r.Seq != 0 && r.Receivers == 1) {
				t.Errorf("%s ended with %+v", c.events[i].channel, r)
			}
		}
	case <-limit:
		o.abandon(c, errGone)
	}
}

var errGone = errors.New("the caller has left")

// writeSome takes batches of a node queue and resolves them, up to three at a time, until ctx ends.
func writeSome(ctx context.Context, o *sender, key connkey.Key, addrs []string) {
	l, detach := o.attach(key)
	defer detach()
	var flying []*batch
	resolve := func() {
		b := flying[0]
		flying = flying[1:]
		outcomes := make([]outcome, len(b.events))
		for i := range outcomes {
			switch rand.IntN(20) {
			case 0:
				outcomes[i] = outcome{retry: true, unknown: true}
			case 1:
				outcomes[i] = outcome{retry: true, moved: true, to: addrs[rand.IntN(len(addrs))]}
			case 2:
				outcomes[i] = outcome{err: errors.New("refused")}
			default:
				outcomes[i] = outcome{receivers: 1}
			}
		}
		o.applyOutcomes(l, b, outcomes, nil)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-l.wake:
		case <-tick.C:
		case <-ctx.Done():
		}
		o.untilWatermark(l)
		o.dueWatermarks(l, time.Now(), false)
		for range 2 {
			if b := new(batch); len(flying) < 3 {
				if o.take(l, b); len(b.events) > 0 {
					flying = append(flying, b)
				}
			}
		}
		for len(flying) > rand.IntN(3) {
			resolve()
		}
	}
	for len(flying) > 0 {
		resolve()
	}
}
