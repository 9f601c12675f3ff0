package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var commitCases = []Case{
	{
		Name: "commit-durable", run: testCommitDurable,
		Rule: "What was committed is settled, also after a restart.",
	},
	{
		Name: "commit-atomic", run: testCommitAtomic,
		Rule: "All of a Commit is done or nothing.",
	},
	{
		Name: "commit-fenced", run: testCommitFenced,
		Rule: "Under a lease that is not a living one each call fails with ErrFenced and changes nothing.",
	},
	{
		Name: "commit-again", run: testCommitAgain,
		Rule: "What is settled already stays as it is.",
	},
	{
		Name: "commit-window", run: testCommitWindow,
		Rule: "Each offset is the lease's, below Next, and below Low plus window, else the whole fails with ErrInvalidCommit.",
	},
	{
		Name: "commit-low", run: testCommitLow,
		Rule: "The first offset that is not settled only ever grows, but by Seek.",
	},
	{
		Name: "commit-deferred", run: testCommitDeferred,
		Rule: "Deferred events count as settled and keep their place in the log; the next holder finds them in its LeaseState.",
	},
	{
		Name: "commit-load", run: testCommitLoad,
		Rule: "Load reads events that are deferred, in the order of refs: those that a Fetch does not return any more.",
	},
	{
		Name: "commit-dead", run: testCommitDead,
		Rule: "Dead events become letters, with their original envelopes, which trimming does not touch.",
	},
}

func testCommitDurable(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	p.append(t, events(0, 10)...)
	low := []uint64{1, 4, 4, 10}
	for n, acked := range [][]uint64{{3, 2}, {1, 7}, {9, 8, 5}, {4, 6}} {
		m := p.consume(t)
		l, st := m.lease(0)
		c.same("the first that is not settled", st.Low, []uint64{1, 1, 4, 4}[n])
		m.ack(l, acked...)
		c.same("the first that is not settled then", p.position(t, "c", 0).Low, low[n])
		p = p.restart()
	}
	m := p.consume(t)
	l, st := m.lease(0)
	c.same("the first that is not settled in the end", []any{st.Low, st.Acked}, []any{10, []uint64(nil)})
	c.same("what is left", payloads(m.fetch(l, 0)), []string{"9"})
}

func testCommitAtomic(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 5)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	for _, commit := range []transport.Commit{
		{Acked: []uint64{1, 6}},
		{Acked: []uint64{1}, Deferred: []transport.Deferral{{Offset: 2}, {Offset: 0}}},
		{Acked: []uint64{1}, Deferred: []transport.Deferral{{Offset: 2}}, Dead: []transport.DeadEvent{{Offset: 3}, {Offset: 99}}},
	} {
		c.fails(m.Commit(c.base, l, commit), transport.ErrInvalidCommit, fmt.Sprintf("%+v", commit))
		pos := p.position(t, "c", 0)
		c.same("what is settled", []uint64{pos.Low, pos.Unsettled, pos.Deferred, pos.Letters}, []uint64{1, 5, 0, 0})
	}
	c.same("the letters", len(p.letters(t, "c")), 0)
}

func testCommitFenced(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 5)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	all := func(m *member, l transport.Lease, what string) {
		c.Helper()
		_, err := m.Fetch(c.base, l, 0, 1, 1)
		c.fails(err, transport.ErrFenced, "Fetch "+what)
		_, err = m.Load(c.base, l, []transport.EventRef{{Offset: 1}})
		c.fails(err, transport.ErrFenced, "Load "+what)
		_, err = m.Begin(c.base, l, transport.EventRef{Offset: 1})
		c.fails(err, transport.ErrFenced, "Begin "+what)
		c.fails(m.Commit(c.base, l, transport.Commit{Acked: []uint64{1}}), transport.ErrFenced, "Commit "+what)
		c.fails(m.Release(c.base, l), transport.ErrFenced, "Release "+what)
		c.same("the first that is not settled", p.position(t, "c", 0).Low, 1)
	}
	higher, other := l, l
	higher.Fence++
	other.Partition = 7
	all(m, higher, "with another fence")
	all(m, other, "of a partition that is not there")
	m.release(l)
	all(m, l, "after Release")
	m.leave()
	second := p.consume(t)
	l2, _ := second.lease(0)
	all(m, l, "by a member that has left")
	all(second, l, "under a lease of before")
	second.ack(l2, 1)
}

func testCommitAgain(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	commit := transport.Commit{
		Acked: []uint64{1, 2}, Deferred: []transport.Deferral{{Offset: 3, Attempt: 2}}, Dead: []transport.DeadEvent{{Offset: 4, Failure: transport.Failure{Error: "first"}}},
	}
	for range 3 {
		m.commit(l, commit)
		pos := p.position(t, "c", 0)
		c.same("what is settled", []uint64{pos.Low, pos.Unsettled, pos.Deferred, pos.Letters}, []uint64{5, 2, 1, 1})
	}
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 1}, {Offset: 4}}, Dead: []transport.DeadEvent{{Offset: 2}, {Offset: 4, Failure: transport.Failure{Error: "second"}}}})
	pos := p.position(t, "c", 0)
	c.same("what is settled", []uint64{pos.Low, pos.Unsettled, pos.Deferred, pos.Letters}, []uint64{5, 2, 1, 1})
	c.same("the letter", p.letters(t, "c")[0].Failure.Error, "first")
}

func testCommitWindow(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 20)...)
	m := p.consume(t, windowed(8))
	l, _ := m.lease(0)
	m.ack(l, 8)
	for _, acked := range [][]uint64{{9}, {0}, {21}, {1, 9}, {2, 3, 20}} {
		c.fails(m.Commit(c.base, l, transport.Commit{Acked: acked}), transport.ErrInvalidCommit, fmt.Sprintf("a Commit of %v", acked))
	}
	m.ack(l, 1)
	m.ack(l, 9)
	pos := p.position(t, "c", 0)
	c.same("what is settled", []uint64{pos.Low, pos.Unsettled}, []uint64{2, 17})
}

func testCommitLow(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 30)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	var last uint64
	look := func() {
		c.Helper()
		low := p.position(t, "c", 0).Low
		if low < last {
			c.fatal(fmt.Sprintf("%d or more", last), "%d", low)
		}
		last = low
	}
	for _, offset := range []uint64{2, 1, 2, 9, 1, 3, 8, 4} {
		m.ack(l, offset)
		look()
	}
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 5}}})
	look()
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 5}, {Offset: 1}}})
	look()
	m.ack(l, 5)
	look()
	p.trim(t, 20)
	look()
	m.ack(l, 6, 7)
	look()
	p = p.restart()
	look()
	m = p.consume(t, from(transport.Start{From: transport.AtEarliest}))
	m.lease(0)
	look()
	c.same("where it is in the end", last, 20)
}

func testCommitDeferred(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	due := time.Now().Add(time.Hour).Round(0)
	want := []transport.Deferral{
		{Offset: 2, Due: due, Attempt: 3, Key: "key \x00\xff", Err: "broken", First: due.Add(-2 * time.Hour)},
		{Offset: 4, Key: "key \x00\xff", Behind: true, Attempt: 1},
	}
	m.commit(l, transport.Commit{Acked: []uint64{1, 3}, Deferred: []transport.Deferral{want[1], want[0]}})
	c.same("the first that is not settled", p.position(t, "c", 0).Low, 5)
	c.same("what Fetch returns", offsets(m.fetch(l, 0)), []uint64{5, 6})
	for range 2 {
		p = p.restart()
		m = p.consume(t)
		var st transport.LeaseState
		l, st = m.lease(0)
		c.same("how many are deferred", len(st.Deferred), 2)
		for i, d := range st.Deferred {
			if !d.Due.Equal(want[i].Due) || !d.First.Equal(want[i].First) {
				c.wrong(fmt.Sprintf("due %v, first %v", want[i].Due, want[i].First), "%v, %v", d.Due, d.First)
			}
			d.Due, d.First = want[i].Due, want[i].First
			c.same("a deferral", d, want[i])
		}
		c.same("what may have been started", st.Suspects, []uint64{5, 6})
	}
	m.commit(l, transport.Commit{Acked: []uint64{4}, Deferred: []transport.Deferral{{Offset: 2, Attempt: 4}}})
	p = p.restart()
	m = p.consume(t)
	_, st := m.lease(0)
	c.same("what is deferred then", st.Deferred, []transport.Deferral{{Offset: 2, Attempt: 4}})
	c.same("how many", p.position(t, "c", 0).Deferred, 1)
}

func testCommitLoad(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.commit(l, transport.Commit{Acked: []uint64{1}, Deferred: []transport.Deferral{{Offset: 2}, {Offset: 5}, {Offset: 6}}})
	load := func(refs ...transport.EventRef) []string {
		c.Helper()
		entries, err := m.Load(c.base, l, refs)
		c.succeeds(err, "Load")
		return payloads(entries)
	}
	c.same("what is loaded", load(transport.EventRef{Offset: 5}, transport.EventRef{Offset: 1}, transport.EventRef{Offset: 2}, transport.EventRef{Offset: 3}, transport.EventRef{Offset: 77}),
		[]string{"4", "1"})
	p = p.restart()
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("what is loaded after a restart", load(transport.EventRef{Offset: 2}), []string{"1"})
	p.trim(t, 6)
	c.same("what is loaded after a trim", load(transport.EventRef{Offset: 2}, transport.EventRef{Offset: 5}, transport.EventRef{Offset: 6}), []string{"5"})
}

func testCommitDead(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	entries := m.fetch(l, 0)
	first := time.Now().Add(-time.Hour).Round(0)
	failure := transport.Failure{Error: "broken", ErrorType: "*x.Error", Stack: []byte("stack"), Attempts: 5, First: first, Last: first.Add(time.Minute)}
	m.commit(l, transport.Commit{Acked: []uint64{1}, Dead: []transport.DeadEvent{
		{Offset: 3, Failure: failure, Envelope: entries[2].Envelope},
		{Offset: 2, Failure: transport.Failure{Error: string(make([]byte, 1<<20)), ErrorType: string(make([]byte, 1<<20)), Stack: make([]byte, 1<<20)}},
	}})
	c.same("the first that is not settled", p.position(t, "c", 0).Low, 4)
	p.trim(t, 6)
	p = p.restart()
	letters := p.letters(t, "c")
	if len(letters) != 2 || letters[0].ID >= letters[1].ID {
		c.fatal("two letters, by ID", "%+v", letters)
	}
	got := letters[0]
	if !got.Failure.First.Equal(failure.First) || !got.Failure.Last.Equal(failure.Last) || !got.At.Equal(entries[2].At) {
		c.wrong(fmt.Sprintf("first %v, last %v, at %v", failure.First, failure.Last, entries[2].At), "%v, %v, %v", got.Failure.First, got.Failure.Last, got.At)
	}
	got.Failure.First, got.Failure.Last = failure.First, failure.Last
	c.same("why it was given up", got.Failure, failure)
	c.same("where it was", []any{got.Partition, got.Offset, got.Replaying}, []any{0, 3, false})
	env := *got.Envelope
	c.same("the event", []any{env.ID, env.Key, env.Headers, env.TypeName, string(env.Payload)}, []any{"2", "k", map[string]string{"h": "2"}, "a.B", "2"})
	c.same("the bounds", []int{len(letters[1].Failure.Error), len(letters[1].Failure.ErrorType), len(letters[1].Failure.Stack)},
		[]int{transport.MaxFailureText, transport.MaxFailureText, transport.MaxFailureStack})
	c.same("how many", p.position(t, "c", 0).Letters, 2)
}
