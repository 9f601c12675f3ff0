package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var retainCases = []Case{
	{
		Name: "retain-events", run: testRetainEvents,
		Rule: "Trimming takes the oldest events first, whether they were settled or not, soon after a bound is passed.",
	},
	{
		Name: "retain-bytes", run: testRetainBytes,
		Rule: "Bytes is how many bytes are kept: at least those of the payloads, and at most Envelope.Size of each event.",
	},
	{
		Name: "retain-age", run: testRetainAge,
		Rule: "Age is how long an event is kept, by the log's clock.",
	},
	{
		Name: "retain-deferred", run: testRetainDeferred,
		Rule: "A deferred event that is trimmed is a Gap of one.",
	},
}

func testRetainEvents(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	t.Retain.Events = 100
	p.topic(t)
	for n := range 25 {
		p.append(t, events(100*n, 100*n+100)...)
	}
	c.eventually("100 are left", func() (bool, string) {
		st := p.state(t)
		return st == transport.PartitionState{First: 2401, Next: 2501}, fmt.Sprintf("%+v", st)
	})
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the events", payloads(m.fetch(l, 0)), payloadsOf(events(2400, 2500)))
	p = p.restart()
	c.same("what is left after a restart", p.topic(t).Partitions[0], transport.PartitionState{First: 2401, Next: 2501})
}

func testRetainBytes(c *check) {
	t, p := c.topic(0), c.open()
	big := func() *transport.Envelope {
		env := event("big")
		env.Payload = make([]byte, 2000)
		return env
	}
	t.Retain.Bytes = uint64(10 * big().Size())
	most := t.Retain.Bytes / 2000
	p.topic(t)
	for range 25 {
		p.append(t, big())
	}
	kept := func(next uint64) {
		c.Helper()
		c.eventually(fmt.Sprintf("10 to %d are left", most), func() (bool, string) {
			st := p.state(t)
			return st.Next == next && st.Next-st.First >= 10 && st.Next-st.First <= most, fmt.Sprintf("%+v", st)
		})
	}
	kept(26)
	p = p.restart()
	for range 3 {
		p.append(t, big())
	}
	kept(29)
}

func testRetainAge(c *check) {
	t, p := c.topic(0), c.open()
	t.Retain.Age = 4 * c.moment()
	p.topic(t)
	p.append(t, events(0, 5)...)
	began := time.Now()
	time.Sleep(2 * c.moment())
	p.append(t, events(5, 8)...)
	if took := time.Since(began); took < 3*c.moment() {
		c.same("what is kept before that", p.state(t).First, 1)
	}
	c.eventually("the old ones are trimmed", func() (bool, string) { st := p.state(t); return st.First == 6, fmt.Sprintf("%+v", st) })
	if age := time.Since(began); age < t.Retain.Age {
		c.wrong(fmt.Sprintf("they are kept for %v", t.Retain.Age), "%v", age)
	}
	c.eventually("the others are trimmed", func() (bool, string) {
		st := p.state(t)
		return st == transport.PartitionState{First: 9, Next: 9}, fmt.Sprintf("%+v", st)
	})
}

func testRetainDeferred(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 10)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.fetch(l, 0)
	m.commit(l, transport.Commit{Acked: []uint64{1, 2, 3, 4, 5, 6, 7, 8}, Deferred: []transport.Deferral{{Offset: 2}, {Offset: 9}}})
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 9}}})
	p.append(t, events(10, 12)...)
	p.trim(t, 10)
	m.await("a gap", func() bool { return m.sink.missing() > 0 })
	c.quiet()
	gaps := m.sink.gapsSeen()
	c.same("the gaps", []any{len(gaps), gaps[0].From, gaps[0].To, gaps[0].Count, gaps[0].Reason}, []any{1, 9, 9, 1, transport.Trimmed})
	c.same("what is deferred", p.position(t, "c", 0).Deferred, 0)
	m.ack(l, 9)
	p = p.restart()
	m = p.consume(t)
	_, st := m.lease(0)
	c.same("what is deferred after a restart", st.Deferred, []transport.Deferral(nil))
}
