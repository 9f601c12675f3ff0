package logtest

import (
	"github.com/shardbus/shardbus/transport"
)

var seekCases = []Case{
	{
		Name: "seek", run: testSeek,
		Rule: "Seek ends all leases, with Lost and ErrSought, forgets what was acknowledged behind the new place, drops deferrals, and keeps letters. The same members are then assigned again.",
	},
	{
		Name: "seek-alone", run: testSeekAlone,
		Rule: "Seek works with nobody there.",
	},
}

func testSeek(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.fetch(l, 0)
	m.commit(l, transport.Commit{Acked: []uint64{1, 2, 5}, Deferred: []transport.Deferral{{Offset: 3}}, Dead: []transport.DeadEvent{{Offset: 4}}})
	for _, tc := range []struct {
		to  transport.Start
		low uint64
	}{
		{transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{0: 2}}, 2},
		{transport.Start{From: transport.AtLatest}, 7},
		{transport.Start{From: transport.AtEarliest}, 1},
	} {
		c.succeeds(p.Seek(c.base, t.Name, "c", tc.to), "Seek")
		m.await("the lease is lost", func() bool { return m.sink.of(l).lost != nil })
		c.fails(m.sink.of(l).lost, transport.ErrSought, "Lost")
		c.fails(m.Commit(c.base, l, transport.Commit{Acked: []uint64{6}}), transport.ErrFenced, "a Commit of the old lease")
		var st transport.LeaseState
		l, st = m.lease(0)
		c.same("where it goes on", []any{st.Low, st.Acked, st.Deferred, st.Suspects}, []any{tc.low, []uint64(nil), []transport.Deferral(nil), []uint64(nil)})
		c.same("the events", offsets(m.fetch(l, 0)), span(tc.low, 6))
		m.inOrder()
	}
	c.same("the letters", payloadsOfLetters(p.letters(t, "c")), []string{"3"})
	p = p.restart()
	c.same("the place after a restart", p.position(t, "c", 0).Low, 1)
	c.fails(p.Seek(c.base, t.Name, "nobody", transport.Start{}), transport.ErrNoSuchConsumer, "Seek of a consumer that is not there")
}

func testSeekAlone(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.ack(l, 1, 2, 3)
	p = p.restart()
	c.succeeds(p.Seek(c.base, t.Name, "c", transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{0: 2}}), "Seek")
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("what may have been started", st.Suspects, []uint64(nil))
	c.same("the events", offsets(m.fetch(l, 0)), span(2, 6))
}
