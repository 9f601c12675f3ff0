package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var consumeCases = []Case{
	{
		Name: "consume-latest", run: testConsumeLatest,
		Rule: `That is durable when Consume returns, so that Latest means "from this return on".`,
	},
	{
		Name: "consume-start", run: testConsumeStart,
		Rule: "Consume makes the consumer at c.Start if there is none of that name.",
	},
	{
		Name: "consume-exists", run: testConsumeExists,
		Rule: "Start is where the consumer begins if it is new.",
	},
	{
		Name: "consume-twice", run: testConsumeTwice,
		Rule: "Consuming under a name twice at once from one bus is ErrInUse.",
	},
	{
		Name: "consume-apart", run: testConsumeApart,
		Rule: "Each consumer has a place of its own.",
	},
	{
		Name: "consume-window", run: testConsumeWindow,
		Rule: "Window is fixed when the consumer is made.",
	},
}

func testConsumeLatest(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	p.append(t, events(0, 3)...)
	p.consume(t, from(transport.Start{}))
	p.append(t, events(3, 5)...)
	p = p.restart()
	p.append(t, events(5, 6)...)
	m := p.consume(t, from(transport.Start{}))
	l, st := m.lease(0)
	c.same("the first that is not settled", st.Low, 4)
	c.same("the events", payloads(m.fetch(l, 0)), []string{"3", "4", "5"})
}

func testConsumeStart(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	t.Retain.Events = 8
	p.topic(t)
	p.append(t, events(0, 10)...)
	c.eventually("two are trimmed", func() (bool, string) { st := p.state(t); return st.First == 3, fmt.Sprint(st) })
	time.Sleep(c.moment())
	middle := time.Now()
	time.Sleep(c.moment())
	t.Retain.Events = 0
	p.topic(t)
	p.append(t, events(10, 12)...)
	for i, tc := range []struct {
		start transport.Start
		low   uint64
	}{
		{transport.Start{From: transport.AtLatest}, 13},
		{transport.Start{From: transport.AtEarliest}, 3},
		{transport.Start{From: transport.AtTime, Time: middle}, 11},
		{transport.Start{From: transport.AtTime, Time: middle.Add(-time.Hour)}, 3},
		{transport.Start{From: transport.AtTime, Time: middle.Add(time.Hour)}, 13},
		{transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{0: 5}}, 5},
		{transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{0: 99}}, 13},
		{transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{1: 5}}, 13},
		{transport.Start{From: transport.AtOffset, Offsets: map[int]uint64{0: 1}}, 3},
	} {
		m := p.consume(t, from(tc.start), func(config *transport.ConsumerConfig) { config.Name = fmt.Sprint("c", i) })
		_, st := m.lease(0)
		c.same(fmt.Sprintf("where %+v begins", tc.start), st.Low, tc.low)
		if i == 8 {
			m.await("a gap of the two that were trimmed", func() bool { return m.sink.missing() == 2 })
		}
	}
}

func testConsumeExists(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 5)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.ack(l, 1, 2, 4)
	m.release(l)
	m.leave()
	for _, start := range []transport.Start{{}, {From: transport.AtEarliest}} {
		p = p.restart()
		m = p.consume(t, from(start))
		l, st := m.lease(0)
		c.same("the first that is not settled", st.Low, 3)
		c.same("those behind it that are", st.Acked, []uint64{4})
		c.same("the next", st.Next, 6)
		c.same("the events", payloads(m.fetch(l, 0)), []string{"2", "4"})
		c.same("the incarnation", st.Incarnation, p.topic(t).Incarnation)
	}
}

func testConsumeTwice(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t)
	config := transport.ConsumerConfig{Topic: t.Name, Name: "c", Keyed: true}
	_, err := p.Consume(c.base, config, newRecorder())
	c.fails(err, transport.ErrInUse, "a second Consume")
	l, _ := m.lease(0)
	m.fetch(l, 0)
	m.leave()
	m = p.consume(t)
	m.lease(0)
	for what, broken := range map[string]transport.ConsumerConfig{"without a name": {Topic: t.Name}, "with a space in its name": {Topic: t.Name, Name: "a b"}} {
		_, err = p.Consume(c.base, broken, newRecorder())
		c.fails(err, transport.ErrInvalidTopic, "a consumer "+what)
	}
	config.Topic = "conformance.none"
	_, err = p.Consume(c.base, config, newRecorder())
	c.fails(err, transport.ErrNoSuchTopic, "Consume of a topic that is not there")
}

func testConsumeApart(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 4)...)
	a := p.consume(t)
	b := p.consume(t, func(config *transport.ConsumerConfig) { config.Name = "d" })
	la, _ := a.lease(0)
	lb, _ := b.lease(0)
	a.ack(la, 1, 2)
	b.commit(lb, transport.Commit{Acked: []uint64{2}, Deferred: []transport.Deferral{{Offset: 1}}, Dead: []transport.DeadEvent{{Offset: 3}}})
	c.same("the events of the one", offsets(a.fetch(la, 0)), []uint64{3, 4})
	c.same("those of the other", offsets(b.fetch(lb, 0)), []uint64{4})
	c.same("the letters of the one", len(p.letters(t, "c")), 0)
	c.same("those of the other", len(p.letters(t, "d")), 1)
}

func testConsumeWindow(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t, windowed(3))
	_, st := m.lease(0)
	c.same("the window", st.Window, 3)
	p = p.restart()
	m = p.consume(t, windowed(99))
	_, st = m.lease(0)
	c.same("the window after a restart with another one", st.Window, 3)
	m = p.consume(t, func(config *transport.ConsumerConfig) { config.Name = "d" })
	_, st = m.lease(0)
	c.same("the window if none is asked for", st.Window, transport.DefaultWindow)
}
