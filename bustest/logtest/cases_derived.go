package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var derivedCases = []Case{
	{
		Name: "derived", run: testDerived, needs: []need{within},
		Rule: "What was published within events is durable with their outcomes.",
	},
	{
		Name: "derived-once", run: testDerivedOnce, needs: []need{within},
		Rule: "A DerivedBatch is taken exactly when the Commit that it is in settles its event, so that a Commit may be repeated.",
	},
	{
		Name: "derived-atomic", run: testDerivedAtomic, needs: []need{within},
		Rule: "All of a Commit is done or nothing, also what it appends.",
	},
}

// derived is what was published within an event.
func derived(offset uint64, to transport.LogTopic, payloads ...string) transport.DerivedBatch {
	b := transport.DerivedBatch{Within: transport.EventRef{Offset: offset}, Batch: transport.Batch{Topic: to.Name}}
	for _, payload := range payloads {
		b.Envelopes = append(b.Envelopes, event(payload))
	}
	return b
}

func testDerived(c *check) {
	t, to, p := c.topic(0), c.topic(0), c.open()
	to.DedupIDs = time.Hour
	p.topic(t)
	p.topic(to)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	later := derived(3, to, "later")
	later.Due = []time.Time{time.Now().Add(c.moment())}
	once, twice := derived(1, to, "once"), derived(2, to, "once")
	once.UserID, twice.UserID = []bool{true}, []bool{true}
	out := p.consume(to)
	lo, _ := out.lease(0)
	out.fetch(lo, 0)
	m.commit(l, transport.Commit{
		Acked: []uint64{1, 2, 3}, Dead: []transport.DeadEvent{{Offset: 4}},
		Append: []transport.DerivedBatch{derived(1, to, "a", "b"), once, twice, later, derived(4, to, "c"), derived(2, t, "self")},
	})
	out.await("a wake of the target's consumer", func() bool { return out.sink.of(lo).wakes > 0 })
	p = p.restart()
	c.eventually("the later one is added", func() (bool, string) { st := p.state(to); return st.Next == 6, fmt.Sprint(st) })
	out = p.consume(to)
	lo, _ = out.lease(0)
	c.same("what was published", payloads(out.fetch(lo, 0)), []string{"a", "b", "once", "c", "later"})
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("what was published into the same topic", payloads(m.fetch(l, 0)), []string{"4", "5", "self"})
}

func testDerivedOnce(c *check) {
	t, to, p := c.topic(0), c.topic(0), c.open()
	p.topic(t)
	p.topic(to)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	for n := range 3 {
		commit := transport.Commit{Acked: []uint64{1}, Append: []transport.DerivedBatch{derived(1, to, "a")}}
		if n == 2 { // with more that is settled now
			commit.Acked = append(commit.Acked, 2)
			commit.Append = append(commit.Append, derived(2, to, "b"))
		}
		m.commit(l, commit)
	}
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 3}}})
	for range 2 {
		m.commit(l, transport.Commit{Acked: []uint64{3}, Append: []transport.DerivedBatch{derived(3, to, "c")}})
	}
	out := p.consume(to)
	lo, _ := out.lease(0)
	c.same("what was published", payloads(out.fetch(lo, 0)), []string{"a", "b", "c"})
}

func testDerivedAtomic(c *check) {
	t, to, p := c.topic(0), c.topic(0), c.open()
	p.topic(t)
	p.topic(to)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	lost := derived(1, to, "a")
	lost.Topic = "conformance.none"
	for what, batch := range map[string]struct {
		transport.DerivedBatch
		err error
	}{
		"into a topic that is not there":   {lost, transport.ErrNoSuchTopic},
		"within an event that is not done": {derived(2, to, "a"), transport.ErrInvalidCommit},
		"of no events":                     {derived(1, to), transport.ErrInvalidBatch},
	} {
		c.fails(m.Commit(c.base, l, transport.Commit{Acked: []uint64{1}, Append: []transport.DerivedBatch{derived(1, to, "x"), batch.DerivedBatch}}), batch.err, "a Commit with a batch "+what)
	}
	c.same("the first that is not settled", p.position(t, "c", 0).Low, 1)
	m.release(l)
	c.fails(m.Commit(c.base, l, transport.Commit{Acked: []uint64{1}, Append: []transport.DerivedBatch{derived(1, to, "x")}}), transport.ErrFenced, "a Commit of a lease that has ended")
	c.same("the next offset of the target", p.state(to).Next, 1)
}
