package logtest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

var beginCases = []Case{
	{
		Name: "begin-counts", run: testBeginCounts,
		Rule: "Begin adds one to the count of starts that the log keeps of an event since its last outcome, and returns it. That is durable when it returns.",
	},
	{
		Name: "begin-deferred", run: testBeginDeferred,
		Rule: "A deferral sets the count to 0.",
	},
}

func testBeginCounts(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 3)...)
	for n := 1; n <= 3; n++ {
		m := p.consume(t)
		l, st := m.lease(0)
		if n > 1 {
			c.same("what may have been started", st.Suspects, span(1, 3))
		}
		starts, err := m.Begin(c.base, l, transport.EventRef{Offset: 2})
		c.succeeds(err, "Begin")
		c.same("the starts", starts, n)
		p = p.restart()
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	starts, err := m.Begin(c.base, l, transport.EventRef{Offset: 1})
	c.succeeds(err, "Begin")
	c.same("the starts of another", starts, 1)
	m.ack(l, 2)
	for _, offset := range []uint64{0, 2, 4} {
		_, err = m.Begin(c.base, l, transport.EventRef{Offset: offset})
		c.fails(err, transport.ErrInvalidCommit, fmt.Sprintf("Begin of offset %d, which has no outcome to come", offset))
	}
	m.release(l)
	_, err = m.Begin(c.base, l, transport.EventRef{Offset: 1})
	c.fails(err, transport.ErrFenced, "Begin under a lease that was released")
}

func testBeginDeferred(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 2)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	ref := transport.EventRef{Offset: 1}
	begin := func(want int) {
		c.Helper()
		starts, err := m.Begin(c.base, l, ref)
		c.succeeds(err, "Begin")
		c.same("the starts", starts, want)
	}
	begin(1)
	begin(2)
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 1, Attempt: 2}}})
	begin(1)
	p = p.restart()
	m = p.consume(t)
	l, _ = m.lease(0)
	begin(2)
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 1, Attempt: 3}}})
	p = p.restart()
	m = p.consume(t)
	l, _ = m.lease(0)
	begin(1)
}
