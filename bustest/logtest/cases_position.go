package logtest

import (
	"fmt"
	"runtime"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var positionCases = []Case{
	{
		Name: "positions", run: testPositions,
		Rule: "Positions tells where a consumer of the topic stands, or all of them: one Position for each of them and each partition, by name and partition.",
	},
	{
		Name: "positions-consistent", run: testPositionsConsistent,
		Rule: "Each Position is one consistent view of its partition.",
	},
	{
		Name: "forget", run: testForget,
		Rule: "Forget removes a consumer with all that is kept for it. While it has a member that is ErrInUse.",
	},
}

func testPositions(c *check) {
	n := c.most(2)
	t, p := c.topic(n), c.open()
	p.topic(t)
	p.append(t, events(0, 8)...)
	for _, name := range []string{"d", "c"} {
		p.consume(t, func(config *transport.ConsumerConfig) { config.Name = name })
	}
	positions, err := p.Positions(c.base, t.Name, "")
	c.succeeds(err, "Positions")
	var order, want []string
	for _, pos := range positions {
		order = append(order, fmt.Sprint(pos.Consumer, pos.Partition))
	}
	for _, name := range []string{"c", "d"} {
		for i := range n {
			want = append(want, fmt.Sprint(name, i))
		}
	}
	c.same("the positions", order, want)
	_, err = p.Positions(c.base, t.Name, "nobody")
	c.fails(err, transport.ErrNoSuchConsumer, "Positions of a consumer that is not there")
	p = p.restart()
	pos := p.position(t, "c", 0)
	c.same("the owner after a restart", pos.Owner, "")
	m := p.consume(t)
	l, _ := m.lease(0)
	entries := m.fetch(l, 0)
	m.commit(l, transport.Commit{Acked: []uint64{1, 4}, Deferred: []transport.Deferral{{Offset: 2}}, Dead: []transport.DeadEvent{{Offset: 6}}})
	pos = p.position(t, "c", 0)
	if !pos.Oldest.Equal(entries[2].At) {
		c.wrong(fmt.Sprintf("the time of the oldest: %v", entries[2].At), "%v", pos.Oldest)
	}
	pos.Oldest = time.Time{}
	c.same("the position", pos, transport.Position{
		Consumer: "c", First: 1, Next: 9, Low: 3, Unsettled: 4, Deferred: 1, Letters: 1, Owner: "m", Fence: l.Fence,
	})
	c.same("the lag", pos.Lag(), 5)
	p.trim(t, 8)
	m.ack(l, 3, 5, 7)
	pos = p.position(t, "c", 0)
	c.same("after a trim", []uint64{pos.First, pos.Low, pos.Unsettled, pos.Deferred}, []uint64{8, 8, 1, 0})
	m.ack(l, 8)
	pos = p.position(t, "c", 0)
	c.same("when all is done", []any{pos.Low, pos.Lag(), pos.Oldest.IsZero()}, []any{9, 0, true})
}

func testPositionsConsistent(c *check) {
	t, p := c.topic(0), c.open()
	t.Retain.Events = 50
	p.topic(t)
	m := p.consume(t)
	l, _ := m.lease(0)
	stopAppend := c.beside(func(running func() bool) {
		for n := 0; running(); n++ {
			p.try(transport.Batch{Topic: t.Name, Envelopes: events(3*n, 3*n+3)})
			runtime.Gosched()
		}
	})
	stopCommit := c.beside(func(running func() bool) {
		for after := uint64(0); running(); runtime.Gosched() {
			f, err := m.Fetch(c.base, l, after, 10, 1<<20)
			if err != nil {
				continue
			}
			after = f.Next - 1
			if err := m.Commit(c.base, l, transport.Commit{Acked: offsets(f.Entries)}); err != nil {
				c.wrong("Commit succeeds", "%s", show(err))
				return
			}
		}
	})
	for range 300 {
		pos := p.position(t, "c", 0)
		if pos.First > pos.Next || pos.Low > pos.Next || pos.Low < pos.First || pos.Unsettled > pos.Next-pos.Low || pos.Unsettled == 0 != (pos.Low == pos.Next) {
			c.wrong("First ≤ Low ≤ Next, and Unsettled between", "%+v", pos)
			break
		}
	}
	stopCommit()
	stopAppend()
}

func testForget(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 4)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.commit(l, transport.Commit{Acked: []uint64{1}, Deferred: []transport.Deferral{{Offset: 2}}, Dead: []transport.DeadEvent{{Offset: 3}}})
	_, err := m.Begin(c.base, l, transport.EventRef{Offset: 4})
	c.succeeds(err, "Begin")
	c.fails(p.Forget(c.base, t.Name, "c"), transport.ErrInUse, "Forget of a consumer that has a member")
	m.leave()
	c.succeeds(p.Forget(c.base, t.Name, "c"), "Forget")
	c.fails(p.Forget(c.base, t.Name, "c"), transport.ErrNoSuchConsumer, "Forget again")
	_, err = p.Letters(c.base, transport.LetterQuery{Topic: t.Name, Consumer: "c"})
	c.fails(err, transport.ErrNoSuchConsumer, "Letters of a consumer that was forgotten")
	p = p.restart()
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("what a new one of the name has", []any{st.Low, st.Deferred, st.Suspects, len(p.letters(t, "c"))}, []any{1, []transport.Deferral(nil), []uint64(nil), 0})
	starts, err := m.Begin(c.base, l, transport.EventRef{Offset: 4})
	c.succeeds(err, "Begin")
	c.same("its starts", starts, 1)
}
