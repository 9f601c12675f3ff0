package logtest

import (
	"github.com/shardbus/shardbus/transport"
)

var releaseCases = []Case{
	{
		Name: "release", run: testRelease,
		Rule: "Release ends a lease in order, durably: there are no suspects.",
	},
	{
		Name: "release-leaves", run: testReleaseLeaves,
		Rule: "Who releases a lease with events left in it, unasked by Revoke, is assigned nothing more until it has consumed anew.",
	},
	{
		Name: "suspects", run: testSuspects,
		Rule: "Suspects may have been started under an earlier lease that ended without Release.",
	},
}

func testRelease(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 6)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.fetch(l, 0)
	m.commit(l, transport.Commit{Acked: []uint64{1, 3}, Deferred: []transport.Deferral{{Offset: 2}}})
	m.release(l)
	for n := range 2 {
		p = p.restart()
		m = p.consume(t)
		var st transport.LeaseState
		l, st = m.lease(0)
		c.same("what may have been started", st.Suspects, []uint64(nil))
		c.same("the first that is not settled", st.Low, 4)
		c.same("what is deferred", st.Deferred, []transport.Deferral{{Offset: 2}})
		if n == 0 {
			m.release(l)
		}
	}
}

func testReleaseLeaves(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	p.append(t, events(0, 2)...)
	m := p.consume(t)
	for i := range max(1, t.Partitions) {
		m.lease(i)
	}
	l, _ := m.lease(0)
	m.release(l)
	p.append(t, events(2, 4)...)
	c.quiet()
	if got := m.sink.living(0); got != nil {
		c.wrong("nothing for who is leaving", "%+v", got.Lease)
	}
	m.leave()
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("the events", len(m.fetch(l, 0)), 4)
	m.inOrder()
}

func testSuspects(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 12)...)
	m := p.consume(t, windowed(8))
	l, st := m.lease(0)
	c.same("what may have been started before", st.Suspects, []uint64(nil))
	m.fetch(l, 0)
	m.commit(l, transport.Commit{Acked: []uint64{1, 4}, Deferred: []transport.Deferral{{Offset: 3}}})
	for range 2 {
		p = p.restart()
		p.append(t, event("new"))
		m = p.consume(t)
		l, st = m.lease(0)
		c.same("what may have been started after a crash", st.Suspects, []uint64{2, 5, 6, 7, 8, 9})
	}
	m.ack(l, 2, 5)
	m.leave() // without Release
	m = p.consume(t)
	l, st = m.lease(0)
	c.same("what may have been started after a Close without Release", st.Suspects, span(6, 13))
	m.ack(l, 6)
	m.release(l)
	m.leave()
	m = p.consume(t)
	_, st = m.lease(0)
	c.same("what may have been started after a Release", st.Suspects, []uint64(nil))
}
