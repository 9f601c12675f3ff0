package publisher

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"pgregory.net/rapid"
)

// TestSenderKeepsOrder drives a sender with writers whose pipelines fail in part, slots that move
// and callers that leave. Of each channel queue, what is written begins with the lowest number that
// is open, and goes on in order; each call gets its results; each number is accepted, or noted as
// abandoned.
func TestSenderKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testSettings()
		cfg.QueueEvents = 20
		cfg.Classes = connkey.NewClasses("hot")
		keys := []connkey.Key{{Addr: "a:1"}, {Addr: "b:1"}, {Addr: "a:1", Class: 1}, {Addr: "b:1", Class: 1}}
		owners := func(first string) *router.Snapshot {
			s, err := router.NewSnapshot([]router.Shard{
				{Primary: router.Node{Addr: first}, Slots: []router.SlotRange{{From: 0, To: 99}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		top := newFakeCluster(owners("a:1"))
		o := newSender(&cfg, top)
		accepted := map[string]map[uint64]bool{}
		var opened []*publishCall
		inFlight := map[connkey.Key][]*batch{} // in order

		finish := func(key connkey.Key) {
			b := inFlight[key][0]
			inFlight[key] = inFlight[key][1:]
			outcomes := make([]outcome, len(b.events))
			for i, it := range b.events {
				switch rapid.SampledFrom([]string{"ok", "ok", "again", "moved", "error"}).Draw(t, "outcome") {
				case "ok":
					if accepted[it.channel] == nil {
						accepted[it.channel] = map[uint64]bool{}
					}
					accepted[it.channel][it.seq] = true
				case "again":
					outcomes[i].retry = true
				case "moved":
					outcomes[i].retry, outcomes[i].moved = true, true
					outcomes[i].to = rapid.SampledFrom([]string{"a:1", "b:1"}).Draw(t, "to")
				case "error":
					outcomes[i].err = errors.New("refused")
				}
			}
			o.applyOutcomes(o.nodeQueue(key), b, outcomes, nil)
		}
		begin := func(key connkey.Key) {
			b := new(batch)
			o.take(o.nodeQueue(key), b)
			last := map[*channelQueue]uint64{}
			for _, it := range b.events {
				if it.dead {
					t.Fatal("an abandoned event is written")
				}
				if it.class != key.Class {
					t.Fatalf("%s is written on %v", it.channel, key)
				}
				if it.isLarge() && len(b.events) > 1 {
					t.Fatal("others wait for a large event's answer")
				}
				if before, seen := last[it.queue]; seen && it.seq <= before {
					t.Fatalf("%s: %d is written behind %d", it.channel, it.seq, before)
				} else if !seen {
					for _, open := range it.queue.pending {
						if open.seq != 0 && open.seq < it.seq && !open.inFlight {
							t.Fatalf("%s: %d is to be written yet, and %d is written", it.channel, open.seq, it.seq)
						}
					}
				}
				last[it.queue] = it.seq
			}
			l := o.nodeQueue(key)
			if large := l.largeInFlight; large > largeAtOnce+900<<10 || large < 0 {
				t.Fatalf("%d bytes of large events are in flight", large)
			}
			if len(b.events) > 0 {
				inFlight[key] = append(inFlight[key], b)
			}
			for _, s := range l.queues {
				for _, it := range s.pending[s.inFlight:] {
					if len(inFlight[key]) == 0 && !s.blocked() && !it.dead {
						t.Fatal("an event is not written, and nothing is in flight")
					}
				}
			}
		}
		step := func() {
			key := rapid.SampledFrom(keys).Draw(t, "key")
			switch rapid.SampledFrom([]string{"publish", "publish", "write", "write", "answer", "answer", "leave", "move"}).Draw(t, "step") {
			case "publish":
				c := new(callPool).get(make([]transport.Result, rapid.IntRange(1, 3).Draw(t, "events")))
				for i := range c.events {
					channel := fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "channel"))
					to := route{channel: channel, slot: int(channel[0]-'0') / 2}
					if channel == "2" { // on the slot of another, which is not dedicated
						to.slot, to.class = 0, 1
					}
					c.events[i] = pendingEvent{env: &transport.Envelope{Publisher: "p"}, route: to, caller: c, index: i}
					c.events[i].size = rapid.SampledFrom([]int{10, 10, largeEvent, 900 << 10}).Draw(t, "size")
				}
				_, next, space, err := o.push(c, 0)
				if err != nil {
					t.Fatal(err)
				}
				if space != nil || next < len(c.events) {
					o.abandon(c, conn.ErrTimeout)
					return
				}
				opened = append(opened, c)
			case "write":
				if len(inFlight[key]) < 3 {
					begin(key)
				}
			case "answer":
				if len(inFlight[key]) > 0 {
					finish(key)
				}
			case "leave":
				if len(opened) > 0 {
					o.abandon(opened[rapid.IntRange(0, len(opened)-1).Draw(t, "who")], conn.ErrTimeout)
				}
			case "move":
				top.snapshot.Store(owners(key.Addr))
				o.applyTopology()
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			step()
		}
		o.close(transport.ErrClosed)
		for _, key := range keys {
			for len(inFlight[key]) > 0 {
				finish(key)
			}
			if l := o.nodeQueue(key); l.events != 0 || l.bytes != 0 || l.inFlight != 0 || l.largeInFlight != 0 {
				t.Fatalf("%v: %d events, %d bytes are left", key, l.events, l.bytes)
			}
		}
		for _, s := range o.mu.queues {
			if s.resolved != s.assigned || len(s.pending) > 0 {
				t.Fatalf("%s: settled up to %d of %d", s.channel, s.resolved, s.assigned)
			}
			for seq := uint64(1); seq <= s.assigned; seq++ {
				given := false
				for _, r := range s.abandoned {
					given = given || r.From <= seq && seq <= r.To
				}
				if !given && !accepted[s.channel][seq] {
					t.Fatalf("%s: %d was neither accepted nor abandoned", s.channel, seq)
				}
			}
		}
		for _, c := range opened {
			for i := range c.events {
				if c.events[i].caller != nil && !c.events[i].dead {
					t.Fatal("a caller was told nothing")
				}
			}
		}
	})
}

func TestWatermarksBackOff(t *testing.T) {
	now := time.Unix(1e6, 0)
	s := &channelQueue{queueKey: queueKey{publisher: "p", channel: "c"}, assigned: 1, resolved: 1, born: now}
	s.lastWatermark = now
	s.scheduleWatermark(now)
	l := newNodeQueue(at("a:1"))
	l.add(s)
	o := &sender{}
	var at []time.Duration
	for range 7 {
		if got := o.dueWatermarks(l, s.watermarkAt.Add(-watermarkSlack-1), false); len(got) != 0 {
			t.Fatal("a watermark before its time")
		}
		due := s.watermarkAt
		if got := o.dueWatermarks(l, due, false); len(got) != 1 || got[0].Streams[0].Last != 1 {
			t.Fatalf("%+v", got)
		}
		at = append(at, due.Sub(now))
		now = due
	}
	want := []time.Duration{250 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second, time.Minute, time.Minute, time.Minute}
	for i := range want {
		if at[i] != want[i] {
			t.Fatalf("%v, want %v", at, want)
		}
	}
	if got := o.dueWatermarks(l, now, true); len(got) != 1 || !got[0].Final {
		t.Errorf("%+v", got)
	}
}
