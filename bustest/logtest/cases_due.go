package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var idCases = []Case{
	{
		Name: "user-id", run: testUserID,
		Rule: "If the partition has seen a user's ID within DedupIDs, the event is not added; the result names the first event.",
	},
	{
		Name: "user-id-ends", run: testUserIDEnds,
		Rule: "DedupIDs is how long an ID that a user gave is remembered.",
	},
	{
		Name: "user-id-only", run: testUserIDOnly,
		Rule: "A nil slice: none was given by a user.",
	},
}

var dueCases = []Case{
	{
		Name: "due-waits", run: testDueWaits,
		Rule: "If Due is in the future, the log takes the event now, durably, and gives it an offset when it is due.",
	},
	{
		Name: "due-order", run: testDueOrder,
		Rule: "Among those that are due, the order is that of their times, then that in which they were taken.",
	},
	{
		Name: "due-id", run: testDueID,
		Rule: "The ID of an event with a Due is remembered until DedupIDs after that time; with DedupIDs 0, while its event waits.",
	},
	{
		Name: "due-cancel", run: testDueCancel,
		Rule: "Cancel removes the event that waits in the topic under this ID. It reports false if none waits. A canceled event's ID is free again.",
	},
	{
		Name: "due-seq", run: testDueSeq,
		Rule: "The numbers of a publisher count its events in the order in which they are taken.",
	},
}

func byUser(t transport.LogTopic, envs ...*transport.Envelope) transport.Batch {
	b := transport.Batch{Topic: t.Name, Envelopes: envs, UserID: make([]bool, len(envs))}
	for i := range b.UserID {
		b.UserID[i] = true
	}
	return b
}

func testUserID(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	t.DedupIDs = time.Hour
	p.topic(t)
	c.same("the result", p.try(byUser(t, event("a"), event("b"), event("a"))), transport.AppendResult{First: 1, Duplicate: []transport.Duplicate{{Index: 2, Offset: 1}}})
	p = p.restart()
	p.topic(t)
	c.same("the result with one that was seen", p.try(byUser(t, event("b"), event("c"))), transport.AppendResult{First: 3, Duplicate: []transport.Duplicate{{Index: 0, Offset: 2}}})
	c.same("the result with all that were seen", p.try(byUser(t, event("c"))), transport.AppendResult{Duplicate: []transport.Duplicate{{Index: 0, Offset: 3}}})
	if t.Partitions > 1 { // which has IDs of its own
		other := byUser(t, event("a"))
		other.Partition = 1
		c.same("the result on another partition", p.try(other), transport.AppendResult{First: 1})
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the events", payloads(m.fetch(l, 0)), []string{"a", "b", "c"})
}

func testUserIDEnds(c *check) {
	t, p := c.topic(0), c.open()
	t.DedupIDs = 2 * c.moment()
	p.topic(t)
	p.try(byUser(t, event("a")))
	time.Sleep(t.DedupIDs + c.moment())
	c.same("the result after DedupIDs", p.try(byUser(t, event("a"))), transport.AppendResult{First: 2})
	t.DedupIDs = 0
	p.topic(t)
	c.same("the results with DedupIDs 0", []uint64{p.try(byUser(t, event("b"))).First, p.try(byUser(t, event("b"))).First}, []uint64{3, 4})
}

func testUserIDOnly(c *check) {
	t, p := c.topic(0), c.open()
	t.DedupIDs = time.Hour
	p.topic(t)
	for n := range 2 {
		c.same("the result", p.append(t, event("a")), transport.AppendResult{First: uint64(n + 1)})
	}
	b := byUser(t, event("a"), event("x"))
	b.UserID[0] = false
	c.same("the result", p.try(b), transport.AppendResult{First: 3})
}

// later is a batch of one event that waits.
func later(t transport.LogTopic, payload string, due time.Time) transport.Batch {
	b := byUser(t, event(payload))
	b.Due = []time.Time{due}
	return b
}

func testDueWaits(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t, from(transport.Start{}))
	l, _ := m.lease(0)
	m.fetch(l, 0)
	due := time.Now().Add(3 * c.moment())
	b := transport.Batch{Topic: t.Name, Envelopes: events(0, 4), Due: []time.Time{due, {}, time.Now().Add(-time.Hour), due}}
	r := p.try(b)
	c.same("the result", r, transport.AppendResult{First: 1, Waiting: []int{0, 3}})
	c.same("the offsets", []uint64{r.Offset(0), r.Offset(1), r.Offset(2), r.Offset(3)}, []uint64{0, 1, 2, 0})
	c.same("the next offset before that time", p.state(t).Next, 3)
	p = p.restart()
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("the events before that time", payloads(m.fetch(l, 0)), []string{"1", "2"})
	m.await("a wake when it is due", func() bool { return m.sink.of(l).wakes > 0 })
	if now := time.Now(); now.Before(due) {
		c.wrong("nothing before it is due", "a wake %v before", due.Sub(now))
	} else if c.features.Bubble && now.Sub(due) > time.Millisecond {
		c.wrong("a wake when it is due", "it came %v later", now.Sub(due))
	}
	entries := m.fetch(l, 2)
	c.same("the events then", payloads(entries), []string{"0", "3"})
	c.same("their offsets", offsets(entries), []uint64{3, 4})
	if at := entries[0].At; at.Before(due) {
		c.wrong("At is when it got its offset", "%v before it was due", due.Sub(at))
	}
	p = p.restart()
	c.quiet()
	c.same("the next offset after another restart", p.state(t).Next, 5)
}

func testDueOrder(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	start := time.Now().Add(2 * c.moment())
	at := func(n int) time.Time { return start.Add(time.Duration(n) * c.moment() / 10) }
	for i, due := range []int{3, 1, 2, 1, 3, 0} {
		p.try(later(t, fmt.Sprintf("%d at %d", i, due), at(due)))
	}
	c.eventually("all are added when they are due", func() (bool, string) {
		st := p.state(t)
		return st.Next == 7, fmt.Sprintf("%+v", st)
	})
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the order", payloads(m.fetch(l, 0)), []string{"5 at 0", "1 at 1", "3 at 1", "2 at 2", "0 at 3", "4 at 3"})

	// Those that fell due while nobody ran.
	start = time.Now().Add(c.moment())
	for i, due := range []int{3, 1, 1} {
		p.try(later(t, fmt.Sprintf("%d", i), at(due)))
	}
	p.close()
	time.Sleep(2 * c.moment())
	p = c.open()
	c.eventually("what fell due meanwhile is added", func() (bool, string) {
		st := p.state(t)
		return st.Next == 10, fmt.Sprintf("%+v", st)
	})
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("the order", payloads(m.fetch(l, 6)), []string{"1", "2", "0"})
}

func testDueID(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	due := time.Now().Add(3 * c.moment())
	c.same("the result", p.try(later(t, "a", due)), transport.AppendResult{Waiting: []int{0}})
	waits := transport.AppendResult{Duplicate: []transport.Duplicate{{Index: 0}}}
	c.same("the result of one at once with the ID", p.try(byUser(t, event("a"))), waits)
	p = p.restart()
	c.same("the result of another later one with the ID", p.try(later(t, "a", due)), waits)
	added := func(next uint64) {
		c.eventually("it is added when it is due", func() (bool, string) {
			st := p.state(t)
			return st.Next == next, fmt.Sprintf("%+v", st)
		})
	}
	added(2)
	c.same("the result after that, with DedupIDs 0", p.try(byUser(t, event("a"))), transport.AppendResult{First: 2})
	t.DedupIDs = 4 * c.moment()
	p.topic(t)
	due = time.Now().Add(c.moment())
	p.try(later(t, "b", due))
	added(4)
	c.same("the result within DedupIDs after it was due", p.try(byUser(t, event("b"))), transport.AppendResult{Duplicate: []transport.Duplicate{{Index: 0, Offset: 3}}})
	time.Sleep(time.Until(due.Add(t.DedupIDs + c.moment())))
	c.same("the result after that", p.try(byUser(t, event("b"))), transport.AppendResult{First: 4})
}

func testDueCancel(c *check) {
	t, p := c.topic(c.most(3)), c.open()
	p.topic(t)
	cancels := func(id string, want bool) {
		c.Helper()
		got, err := p.Cancel(c.base, t.Name, id)
		c.succeeds(err, "Cancel")
		c.same("Cancel of "+id, got, want)
	}
	due := time.Now().Add(10 * c.moment()) // two restarts come before
	cancels("a", false)
	last := later(t, "a", due)
	last.Partition = max(1, t.Partitions) - 1
	p.try(last)
	p.try(later(t, "b", due))
	p.try(byUser(t, event("now")))
	p = p.restart()
	cancels("a", true)
	cancels("a", false)
	cancels("now", false)
	p = p.restart()
	last = later(t, "a", due)
	last.Partition = max(1, t.Partitions) - 1
	c.same("the result of the ID again", p.try(last), transport.AppendResult{Waiting: []int{0}})
	cancels("a", true)
	c.eventually("b is added", func() (bool, string) {
		st := p.state(t)
		return st.Next == 3, fmt.Sprintf("%+v", st)
	})
	cancels("b", false)
	c.quiet()
	for i, st := range p.topic(t).Partitions {
		want := uint64(1)
		if i == 0 {
			want = 3
		}
		c.same(fmt.Sprintf("the next offset of partition %d", i), st.Next, want)
	}
	_, err := p.Cancel(c.base, "conformance.none", "a")
	c.fails(err, transport.ErrNoSuchTopic, "Cancel in a topic that is not there")
}

func testDueSeq(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	b := numbered(t, 0, 1, 3)
	due := time.Now().Add(c.moment())
	b.Due = []time.Time{due, {}, due}
	c.same("the result", p.try(b), transport.AppendResult{First: 1, Waiting: []int{0, 2}})
	c.same("the result of the next", p.try(numbered(t, 0, 4, 1)), transport.AppendResult{First: 2})
	c.eventually("all are added", func() (bool, string) {
		st := p.state(t)
		return st.Next == 5, fmt.Sprintf("%+v", st)
	})
	m := p.consume(t)
	l, _ := m.lease(0)
	var seqs []uint64
	for _, e := range m.fetch(l, 0) {
		seqs = append(seqs, e.Envelope.Seq)
	}
	c.same("the numbers", seqs, []uint64{2, 4, 1, 3})
}
