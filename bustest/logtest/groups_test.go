package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// TestGroups has buses come, go and die while they share a consumer: leases that live never
// overlap, what was committed is not given out again, a late commit is refused, and in the end every
// event was handled.
func TestGroups(t *testing.T) {
	for name, set := range map[string]func(*transport.ConsumerConfig){
		"keyed": func(c *transport.ConsumerConfig) { c.Keyed = true }, "unkeyed": func(*transport.ConsumerConfig) {},
		"exclusive": func(c *transport.ConsumerConfig) { c.Exclusive = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inBubble := struct{ testing.TB }{t} // its deadline can't be asked for
				rapid.Check(inBubble, func(t *rapid.T) {
					g := &groupRun{T: t, ctx: context.Background(), store: memory.NewLog(), set: set, committed: make(map[place]bool)}
					if _, err := g.store.Open(g.ctx, transport.LogTopic{Name: "t", Partitions: groupPartitions}); err != nil {
						t.Fatal(err)
					}
					t.Repeat(map[string]func(*rapid.T){
						"join": g.join, "append": g.append, "append more": g.append, "work": g.work, "work more": g.work,
						"leave": g.leave, "die": g.die, "wait": g.wait, "late": g.late, "": g.check,
					})
					g.finish()
				})
			})
		})
	}
}

const groupPartitions = 3

type place struct {
	partition int
	offset    uint64
}

// groupRun is a group of buses.
type groupRun struct {
	*rapid.T
	ctx       context.Context
	store     *memory.Log
	set       func(*transport.ConsumerConfig)
	buses     []*groupBus
	dead      []*groupBus
	joined    int
	appended  [groupPartitions]uint64
	committed map[place]bool
}

// groupBus is a bus with its membership.
type groupBus struct {
	log    *memory.Log
	sink   *recorder
	served chan error
	member transport.Consumer
	last   transport.Lease // one that it had
}

func (g *groupRun) join(t *rapid.T) {
	if len(g.buses) == 4 {
		t.Skip("enough")
	}
	g.joined++
	b := &groupBus{log: g.store.Connect(), sink: newRecorder(), served: make(chan error, 1)}
	go func() { b.served <- b.log.Serve(g.ctx) }()
	config := transport.ConsumerConfig{Topic: "t", Name: "c", Member: fmt.Sprint(g.joined), Window: 100, Start: transport.Start{From: transport.AtEarliest}}
	g.set(&config)
	var err error
	if b.member, err = b.log.Consume(g.ctx, config, b.sink); err != nil {
		t.Fatal(err)
	}
	g.buses = append(g.buses, b)
}

func (g *groupRun) append(t *rapid.T) {
	partition, n := rapid.IntRange(0, groupPartitions-1).Draw(t, "partition"), rapid.IntRange(1, 90).Draw(t, "n")
	var r [1]transport.AppendResult
	g.store.Append(g.ctx, []transport.Batch{{Topic: "t", Partition: partition, Envelopes: events(0, n)}}, r[:])
	if r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	g.appended[partition] += uint64(n)
}

// pick draws a bus, if there is one.
func (g *groupRun) pick(t *rapid.T) *groupBus {
	if len(g.buses) == 0 {
		t.Skip("nobody")
	}
	return rapid.SampledFrom(g.buses).Draw(t, "bus")
}

func (g *groupRun) work(t *rapid.T) {
	b := g.pick(t)
	g.workAs(b, rapid.IntRange(1, 40).Draw(t, "limit"), rapid.Bool().Draw(t, "obeys"))
}

// workAs has a bus fetch and commit under its leases, and give back what is done or revoked.
func (g *groupRun) workAs(b *groupBus, limit int, obeys bool) {
	synctest.Wait()
	for _, a := range b.sink.all() {
		b.last = a.Lease
		f, err := b.member.Fetch(g.ctx, a.Lease, 0, limit, 1<<20)
		if errors.Is(err, transport.ErrFenced) {
			continue
		} else if err != nil {
			g.Fatal(err)
		}
		acked := offsets(f.Entries)
		for _, offset := range acked {
			if !a.Covers(offset) || g.committed[place{a.Partition, offset}] {
				g.Fatalf("offset %d of %+v was committed: %v, or is not its", offset, a.Lease, g.committed[place{a.Partition, offset}])
			}
		}
		switch err := b.member.Commit(g.ctx, a.Lease, transport.Commit{Acked: acked}); {
		case errors.Is(err, transport.ErrFenced):
			continue
		case err != nil:
			g.Fatal(err)
		}
		for _, offset := range acked {
			g.committed[place{a.Partition, offset}] = true
		}
		done := !a.Whole() && len(acked) < limit
		if done || obeys && a.revoked > 0 {
			b.release(g, a.Lease)
		}
	}
}

func (b *groupBus) release(g *groupRun, l transport.Lease) {
	b.sink.releasing(l)
	if err := b.member.Release(g.ctx, l); err != nil && !errors.Is(err, transport.ErrFenced) {
		g.Fatal(err)
	}
	b.sink.released(l)
}

func (g *groupRun) remove(b *groupBus) {
	g.buses = slices.DeleteFunc(g.buses, func(other *groupBus) bool { return other == b })
	g.dead = append(g.dead, b)
	if err := b.log.Close(); err != nil {
		g.Fatal(err)
	}
	<-b.served
	b.sink.end()
}

func (g *groupRun) leave(t *rapid.T) {
	b := g.pick(t)
	synctest.Wait()
	for _, a := range b.sink.all() {
		b.release(g, a.Lease)
	}
	if err := b.member.Close(g.ctx); err != nil {
		t.Fatal(err)
	}
	g.remove(b)
}

func (g *groupRun) die(t *rapid.T) { g.remove(g.pick(t)) }

func (g *groupRun) wait(*rapid.T) { time.Sleep(11 * time.Second) }

// late commits as a bus that has died.
func (g *groupRun) late(t *rapid.T) {
	if len(g.dead) == 0 {
		t.Skip("nobody")
	}
	b := rapid.SampledFrom(g.dead).Draw(t, "bus")
	if err := b.member.Commit(g.ctx, b.last, transport.Commit{Acked: []uint64{1}}); err == nil {
		t.Fatalf("a late commit of %+v is taken", b.last)
	}
}

// check checks that leases that live have ranges of their own.
func (g *groupRun) check(*rapid.T) {
	synctest.Wait()
	var living []assigned
	for _, b := range append(g.buses, g.dead...) {
		if faults := b.sink.wrong(); len(faults) > 0 {
			g.Fatalf("%v: %v", faults, b.sink.log())
		}
	}
	for _, b := range g.buses {
		living = append(living, b.sink.all()...)
	}
	for i, a := range living {
		for _, b := range living[i+1:] {
			if a.Partition == b.Partition && (overlap(a.Lease, b.Lease) || a.Fence == b.Fence) {
				g.Fatalf("%+v and %+v live at once", a.Lease, b.Lease)
			}
		}
	}
}

// finish works until all is handled.
func (g *groupRun) finish() {
	if len(g.buses) == 0 {
		g.join(g.T)
	}
	for range 300 {
		time.Sleep(time.Second)
		for _, b := range g.buses {
			g.workAs(b, 100, true)
		}
		g.check(nil)
	}
	for partition, n := range g.appended {
		for offset := uint64(1); offset <= n; offset++ {
			if !g.committed[place{partition, offset}] {
				g.Fatalf("offset %d of partition %d was never handled", offset, partition)
			}
		}
	}
	for len(g.buses) > 0 {
		g.remove(g.buses[0])
	}
}
