package logtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var sharedCases = []Case{
	{
		Name: "consume-exclusive", run: testConsumeExclusive, needs: []need{shared},
		Rule: "Another member of an Exclusive consumer may join, and is a standby: it is assigned nothing until the first has ended.",
	},
	{
		Name: "consume-shares", run: testConsumeShares, needs: []need{shared, partitions},
		Rule: "Partitions are shared out so that members' shares differ by at most one, and no partition moves that need not.",
	},
	{
		Name: "consume-ranges", run: testConsumeRanges, needs: []need{shared, ranges},
		Rule: "The ranges of living leases never overlap, and together they have every event.",
	},
	{
		Name: "consume-ranges-return", run: testConsumeRangesReturn, needs: []need{shared, ranges},
		Rule: "What the holder of a range has not settled or has deferred is assigned to another member when it ends.",
	},
	{
		Name: "consume-mixed", run: testConsumeMixed, needs: []need{shared},
		Rule: "All members of a consumer have the same Exclusive and Keyed, else the later one fails with ErrInUse.",
	},
	{
		Name: "revoke-ignored", run: testRevokeIgnored, needs: []need{shared, bubble},
		Rule: "If the holder has not released a revoked lease when by has passed, the lease is lost.",
	},
}

func testConsumeExclusive(c *check) {
	t, p, q := c.topic(c.most(2)), c.open(), c.open()
	p.topic(t)
	p.append(t, events(0, 3)...)
	n := max(1, t.Partitions)
	a := p.consume(t, exclusive, named("a"))
	for i := range n {
		a.lease(i)
	}
	b := q.consume(t, exclusive, named("b"))
	c.quiet()
	if got := b.sink.all(); len(got) > 0 {
		c.fatal("nothing for the standby", "%+v", got)
	}
	pos := q.position(t, "c", 0)
	c.same("who Positions says it is", []any{pos.Owner, pos.Standby}, []any{"a", []string{"b"}})
	l, _ := a.lease(0)
	a.ack(l, 1)
	for i := range n {
		l, _ := a.lease(i)
		a.release(l)
	}
	l, st := b.lease(0)
	c.same("what the standby takes over", []any{st.Low, st.Suspects}, []any{2, []uint64(nil)})
	b.fetch(l, 0)
	a.leave()
	a = p.consume(t, exclusive, named("a"))
	q.close() // dies
	_, st = a.lease(0)
	c.same("what the first takes over again", []any{st.Low, st.Suspects}, []any{2, []uint64{2, 3}})
	a.inOrder()
	b.inOrder()
}

// owned are the partitions that each member holds.
func owned(members ...*member) (shares [][]int) {
	for _, m := range members {
		var held []int
		for _, a := range m.sink.all() {
			held = append(held, a.Partition)
		}
		slices.Sort(held)
		shares = append(shares, held)
	}
	return shares
}

// even reports whether n partitions are held, in shares that differ by one at most.
func even(n int, shares [][]int) bool {
	least, most, all := n, 0, 0
	for _, held := range shares {
		least, most, all = min(least, len(held)), max(most, len(held)), all+len(held)
	}
	return all == n && most-least <= 1
}

// obey releases what was revoked.
func (m *member) obey() {
	for _, a := range m.sink.all() {
		if a.revoked > 0 && !a.leaving {
			m.release(a.Lease)
		}
	}
}

func (c *check) settled(n int, members ...*member) {
	c.Helper()
	c.eventually("even shares", func() (bool, string) {
		for _, m := range members {
			m.obey()
		}
		shares := owned(members...)
		return even(n, shares), fmt.Sprint(shares)
	})
	for _, m := range members {
		m.inOrder()
	}
}

func testConsumeShares(c *check) {
	n := c.most(7)
	t, p, q, r := c.topic(n), c.open(), c.open(), c.open()
	p.topic(t)
	a := p.consume(t, named("a"))
	c.settled(n, a)
	b := q.consume(t, named("b"))
	c.settled(n, a, b)
	before := owned(a, b)
	d := r.consume(t, named("d"))
	c.settled(n, a, b, d)
	for i, m := range []*member{a, b} {
		lost := len(before[i]) - len(owned(m)[0])
		if lost > (n+2)/3 {
			c.wrong("no partition moves that need not", "%d of %d were taken", lost, len(before[i]))
		}
		for _, partition := range owned(m)[0] {
			if !slices.Contains(before[i], partition) {
				c.wrong("no partition moves that need not", "partition %d moved between two that stay", partition)
			}
		}
	}
	q.close() // dies
	c.settled(n, a, d)
	for _, held := range a.sink.all() {
		c.same("the fence that Positions tells", p.position(t, "c", held.Partition).Fence, held.Fence)
	}
	for _, held := range a.sink.all() { // leaves
		a.release(held.Lease)
	}
	c.settled(n, d)
}

func testConsumeRanges(c *check) {
	t, p, q := c.topic(0), c.open(), c.open()
	p.topic(t)
	p.append(t, events(0, 150)...)
	a, b := p.consume(t, unkeyed, named("a")), q.consume(t, unkeyed, named("b"))
	handled := make(map[uint64]int)
	by := make(map[*member]int)
	more := 150
	c.eventually("all events are handled", func() (bool, string) {
		for _, m := range []*member{a, b} {
			m.obey()
			for _, l := range m.sink.all() {
				if l.leaving || l.revoked > 0 {
					continue
				}
				if l.Whole() { // not yet shared: the other one is to come
					continue
				}
				var acked []uint64
				for _, e := range m.fetch(l.Lease, 0) {
					if !l.Covers(e.Offset) {
						c.fatal(fmt.Sprintf("offsets of %+v", l.Lease), "%d", e.Offset)
					}
					handled[e.Offset]++
					by[m]++
					acked = append(acked, e.Offset)
				}
				m.ack(l.Lease, acked...)
				m.release(l.Lease)
			}
		}
		if more < 400 {
			p.append(t, events(more, more+50)...)
			more += 50
		}
		return len(handled) == more, fmt.Sprintf("%d of %d", len(handled), more)
	})
	for offset, n := range handled {
		if n != 1 {
			c.wrong("each event once", "offset %d %d times", offset, n)
		}
	}
	if by[a] == 0 || by[b] == 0 {
		c.wrong("both members have some", "%d and %d", by[a], by[b])
	}
	c.same("the first that is not settled", p.position(t, "c", 0).Low, more+1)
	a.inOrder()
	b.inOrder()
	disjoint(c, a, b)
}

// disjoint checks that no two leases that lived at once overlap.
func disjoint(c *check, members ...*member) {
	c.Helper()
	var all []assigned
	for _, m := range members {
		all = append(all, m.sink.history()...)
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			together := (b.ended == 0 || a.began < b.ended) && (a.ended == 0 || b.began < a.ended)
			if a.Partition == b.Partition && a.Fence == b.Fence || together && overlap(a.Lease, b.Lease) && a.Partition == b.Partition && !a.leaving && !b.leaving {
				c.wrong("leases that live at once have fences and ranges of their own", "%+v and %+v", a.Lease, b.Lease)
			}
		}
	}
}

func testConsumeRangesReturn(c *check) {
	t, p, q := c.topic(0), c.open(), c.open()
	p.topic(t)
	a := p.consume(t, unkeyed, named("a"))
	whole, _ := a.lease(0)
	b := q.consume(t, unkeyed, named("b"))
	a.await("the lease of the whole is asked back", func() bool { return a.sink.of(whole).revoked > 0 })
	a.release(whole)
	p.append(t, events(0, 10)...)
	var holder *member
	var l transport.Lease
	c.eventually("one of them gets a range", func() (bool, string) {
		for _, m := range []*member{a, b} {
			if got := m.sink.living(0); got != nil && !got.Whole() {
				holder, l = m, got.Lease
			}
		}
		return holder != nil, "none"
	})
	holder.fetch(l, 0)
	holder.commit(l, transport.Commit{Acked: []uint64{3}, Deferred: []transport.Deferral{{Offset: 2, Attempt: 2}}})
	other := a
	if holder == a {
		other = b
	}
	holder.p.close() // dies
	got, st := other.lease(0)
	c.same("what is deferred", len(st.Deferred), 1)
	c.same("what may have been started", st.Suspects, []uint64{1, 4, 5, 6, 7, 8, 9, 10})
	c.same("the events", offsets(other.fetch(got, 0)), []uint64{1, 4, 5, 6, 7, 8, 9, 10})
	other.inOrder()
}

func testConsumeMixed(c *check) {
	t, p, q := c.topic(0), c.open(), c.open()
	p.topic(t)
	p.consume(t)
	for _, config := range []transport.ConsumerConfig{{Keyed: false}, {Keyed: true, Exclusive: true}} {
		config.Topic, config.Name = t.Name, "c"
		_, err := q.Consume(c.base, config, newRecorder())
		c.fails(err, transport.ErrInUse, fmt.Sprintf("a member with Keyed %v, Exclusive %v", config.Keyed, config.Exclusive))
	}
}

func testRevokeIgnored(c *check) {
	t, p, q := c.topic(c.most(2)), c.open(), c.open()
	p.topic(t)
	if t.Partitions < 2 {
		return
	}
	p.appendTo(t, 0, events(0, 3)...)
	p.appendTo(t, 1, events(0, 3)...)
	a := p.consume(t, named("a"))
	c.settled(2, a)
	q.consume(t, named("b"))
	var revoked assigned
	a.await("a lease is revoked", func() bool {
		for _, l := range a.sink.all() {
			if l.revoked > 0 {
				revoked = l
			}
		}
		return revoked.revoked > 0
	})
	began := time.Now()
	a.ack(revoked.Lease, 1)
	a.await("the lease is lost", func() bool { return a.sink.of(revoked.Lease).lost != nil })
	if took := time.Since(began); took < revoked.revoked || took > revoked.revoked+time.Second {
		c.wrong(fmt.Sprintf("the lease is lost after %v", revoked.revoked), "after %v", took)
	}
	c.fails(a.sink.of(revoked.Lease).lost, transport.ErrFenced, "Lost")
	c.fails(a.Commit(c.base, revoked.Lease, transport.Commit{Acked: []uint64{2}}), transport.ErrFenced, "a Commit then")
	b := q.position(t, "c", revoked.Partition)
	c.same("the new owner, and the first that is not settled", []any{b.Owner, b.Low}, []any{"b", 2})
	a.inOrder()
}
