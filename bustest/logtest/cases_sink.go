package logtest

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var sinkCases = []Case{
	{
		Name: "sink-fences", run: testSinkFences,
		Rule: "Each lease has a higher fence than all before it of the same consumer and partition, also after a restart.",
	},
	{
		Name: "sink-wake", run: testSinkWake,
		Rule: "A holder that has fetched until there was nothing more is woken by what comes then.",
	},
	{
		Name: "sink-quiet", run: testSinkQuiet,
		Rule: "After Release has returned, or Lost has come, no Wake of that lease comes any more. After Consumer.Close has returned nothing comes at all.",
	},
	{
		Name: "sink-served", run: testSinkServed,
		Rule: "Sinks are called by Serve only. Leases outlive it, and what a sink was not told yet it is told by the next.",
	},
}

func testSinkFences(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	var last uint64
	for n := range 6 {
		m := p.consume(t)
		l, _ := m.lease(0)
		if l.Fence <= last {
			c.wrong(fmt.Sprintf("a fence above %d", last), "%d", l.Fence)
		}
		last = l.Fence
		switch n % 3 {
		case 0:
			m.release(l)
			m.leave()
		case 1:
			m.leave()
		default:
			p = p.restart()
		}
		m.inOrder()
	}
	if st := p.state(t); st.Next != 1 {
		c.wrong("no event", "%+v", st)
	}
}

func testSinkWake(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	m := p.consume(t)
	var after uint64
	l, _ := m.lease(0)
	for n := range 30 {
		after += uint64(len(m.fetch(l, after)))
		before := m.sink.of(l).wakes
		p.append(t, event(fmt.Sprint(n)))
		began := time.Now()
		m.await("a wake after an Append", func() bool { return m.sink.of(l).wakes > before })
		if late := time.Since(began) - p.LogCapabilities().Poll; late > 5*time.Second {
			c.wrong("a wake within Poll", "it came %v later", late)
		}
	}
	m.inOrder()
	// With events that come at any moment of a Fetch nobody waits for ever.
	c.beside(func(running func() bool) {
		for n := 0; n < 200 && running(); n++ {
			p.try(transport.Batch{Topic: t.Name, Envelopes: events(n, n+1)})
		}
	})
	acked := uint64(1)
	for after < 230 {
		wakes := m.sink.of(l).wakes
		entries := m.fetch(l, after)
		if len(entries) == 0 {
			m.await("a wake for events that nobody has fetched", func() bool { return m.sink.of(l).wakes > wakes })
			continue
		}
		after = entries[len(entries)-1].Offset
		m.ack(l, span(acked, after)...)
		acked = after + 1
	}
}

func testSinkQuiet(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	stop := c.beside(func(running func() bool) {
		for running() {
			p.try(transport.Batch{Topic: t.Name, Envelopes: events(0, 1)})
			runtime.Gosched()
		}
	})
	for range 30 {
		m := p.consume(t, from(transport.Start{}))
		l, _ := m.lease(0)
		_, _ = m.Fetch(c.base, l, 0, 1<<20, 1<<20)
		m.release(l)
		p.append(t, event("more"))
		m.leave()
		p.append(t, event("more"))
		m.inOrder()
	}
	stop()
}

func testSinkServed(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.fetch(l, 0)
	for range 3 {
		if err := p.stop(); err != nil {
			c.wrong("Serve returns nil when its context ends", "%s", show(err))
		}
		before := len(m.sink.log())
		p.append(t, event("a"))
		c.quiet()
		if now := m.sink.log(); len(now) > before {
			c.fatal("no call while nothing is served", "%v", now[before:])
		}
		wakes := m.sink.of(l).wakes
		p.start()
		m.await("a wake of the same lease", func() bool { return m.sink.of(l).wakes > wakes })
		m.fetch(l, 0)
	}
	again := p.Serve
	c.fails(again(c.base), transport.ErrInUse, "a second Serve")
	ctx, cancel := context.WithCancel(c.base)
	cancel()
	c.succeeds(p.stop(), "Serve")
	if err := p.Serve(ctx); err != nil {
		c.wrong("nil from a Serve whose context has ended", "%s", show(err))
	}
	m.inOrder()
}
