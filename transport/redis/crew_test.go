package redis

import (
	"context"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// TestLead: a caller writes its events itself if they are one pipeline of one lane, a writer is idle, and none of them
// would overtake what is in flight. Else nothing is queued, and nothing taken from anybody.
func TestLead(t *testing.T) {
	const low, high = 10, 200 // slots of one primary, and of another
	type event struct {
		channel string
		slot    int
	}
	three := []event{{"x", low}, {"y", low}, {"x", low}}
	for _, c := range []struct {
		name    string
		events  []event
		refused int // the first of them have no envelope
		busy    bool
		flying  bool // x has an event in flight
		ending  bool // the caller's context can end
		leads   bool
	}{
		{name: "one event", events: three[:1], leads: true},
		{name: "one pipeline", events: three, leads: true},
		{name: "one is refused", events: three, refused: 1, leads: true},
		{name: "all are refused", events: three, refused: 3},
		{name: "two lanes", events: []event{{"x", low}, {"z", high}}},
		{name: "no writer is idle", events: three, busy: true},
		{name: "one is in flight", events: []event{{"y", low}, {"x", low}}, flying: true},
		{name: "another is in flight", events: []event{{"y", low}}, flying: true, leads: true},
		{name: "a context that ends", events: three, ending: true},
		{name: "more than the queue holds", events: make([]event, 21)},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, err := Config{Addrs: []string{"h"}, QueueEvents: 20}.resolved()
			if err != nil {
				t.Fatal(err)
			}
			snapshot, err := router.NewSnapshot([]router.Shard{
				{Primary: router.Node{Addr: "a:1"}, Slots: []router.SlotRange{{From: 0, To: 99}}},
				{Primary: router.Node{Addr: "b:1"}, Slots: []router.SlotRange{{From: 100, To: 299}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			o := newOutbox(&cfg, newTopology(&cfg, discovery{snapshot: snapshot}, nil))
			queue := func(events []event, refused int) *call {
				one := &call{items: make([]item, len(events)), results: make([]transport.Result, len(events)), done: make(chan struct{}, 1), open: 1}
				for i := refused; i < len(events); i++ {
					one.items[i] = item{
						env: &transport.Envelope{Publisher: "p"}, call: one, index: i, size: 100,
						route: route{channel: events[i].channel, slot: events[i].slot},
					}
				}
				return one
			}
			l := o.lane("a:1")
			var flying batch
			if c.flying {
				if _, _, err := o.push(queue(three[:1], 0), 0); err != nil {
					t.Fatal(err)
				}
				o.take(l, &flying)
			}
			crew := &crew{running: t.Context(), idle: make(chan *writer, 1)}
			if !c.busy {
				crew.idle <- new(writer)
			}
			o.enlistCrew(l, crew)
			o.enlistCrew(o.lane("b:1"), crew)
			ctx := context.Background() //nolint:usetesting // one that cannot end
			if c.ending {
				ctx = t.Context()
			}
			mine := queue(c.events, c.refused)
			w, at := o.lead(ctx, mine)
			if (w != nil) != c.leads {
				t.Fatalf("leads: %v", w != nil)
			}
			if !c.leads {
				if want := len(flying.items); l.events != want || len(crew.idle) == 0 != c.busy {
					t.Fatalf("%d events are queued, %d writers idle", l.events, len(crew.idle))
				}
				for i := range mine.items {
					if mine.items[i].stream != nil {
						t.Fatal("an event that is not queued has a stream")
					}
				}
				return
			}
			var b batch
			o.take(at, &b)
			if want := len(c.events) - c.refused; len(b.items) != want || at != l {
				t.Fatalf("%d events are written, want %d", len(b.items), want)
			}
			last := map[string]uint64{}
			for _, it := range b.items {
				if it.seq != last[it.channel]+1 {
					t.Errorf("%s: %d comes behind %d", it.channel, it.seq, last[it.channel])
				}
				last[it.channel] = it.seq
			}
			o.settle(l, &b, make([]outcome, len(b.items)), nil)
			select {
			case <-mine.done:
			case <-time.After(10 * time.Second):
				t.Error("the call is not done")
			}
		})
	}
}
