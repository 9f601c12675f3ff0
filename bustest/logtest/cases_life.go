package logtest

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

var lifeCases = []Case{
	{
		Name: "context", run: testContext,
		Rule: "A context that has ended fails a call with its cause.",
	},
	{
		Name: "close", run: testClose,
		Rule: "Close ends the log for good, a running Serve included. Every later call fails with an error that wraps ErrClosed, but Close, which does nothing.",
	},
	{
		Name: "capabilities", run: testCapabilities,
		Rule: "LogCapabilities says what this log does. It never changes.",
	},
	{
		Name: "claim", run: testClaim, needs: []need{claim},
		Rule: "Claim takes the log, or returns an error that wraps ErrInUse. Release gives it back, and the next bus may claim it.",
	},
}

func testContext(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t)
	l, _ := m.lease(0)
	p.everyCall(m, l, t, c.ended(), func(err error, what string) { c.fails(err, errEnough, what) })
	c.same("what the log has", p.state(t), transport.PartitionState{First: 1, Next: 1})
	m.ack(l)
}

func testClose(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t)
	l, _ := m.lease(0)
	c.succeeds(p.Close(), "Close")
	select {
	case err := <-p.served:
		c.fails(err, transport.ErrClosed, "the Serve that ran")
		p.served, p.gone = nil, true
	case <-time.After(10 * time.Second):
		c.fatal("the Serve that ran ends with Close", "it had not after 10 s")
	}
	c.succeeds(p.Close(), "Close again")
	c.fails(p.Serve(c.base), transport.ErrClosed, "Serve")
	p.everyCall(m, l, t, c.base, func(err error, what string) { c.fails(err, transport.ErrClosed, what) })
	m.inOrder()
}

// everyCall makes each call that has a context, but Serve and Consumer.Close.
func (p *peer) everyCall(m *member, l transport.Lease, t transport.LogTopic, ctx interface {
	Deadline() (time.Time, bool)
	Done() <-chan struct{}
	Err() error
	Value(any) any
}, look func(error, string),
) {
	_, err := p.Open(ctx, t)
	look(err, "Open")
	results := make([]transport.AppendResult, 2)
	p.Append(ctx, []transport.Batch{{Topic: t.Name, Envelopes: events(0, 1)}, {Topic: t.Name, Envelopes: events(1, 2)}}, results)
	for _, r := range results {
		look(r.Err, "Append")
	}
	_, err = p.Cancel(ctx, t.Name, "a")
	look(err, "Cancel")
	_, err = p.Consume(ctx, transport.ConsumerConfig{Topic: t.Name, Name: "d"}, newRecorder())
	look(err, "Consume")
	_, err = p.Letters(ctx, transport.LetterQuery{Topic: t.Name, Consumer: "c"})
	look(err, "Letters")
	_, err = p.SettleLetters(ctx, t.Name, "c", []uint64{1}, transport.PurgeLetters)
	look(err, "SettleLetters")
	_, err = p.Positions(ctx, t.Name, "")
	look(err, "Positions")
	look(p.Seek(ctx, t.Name, "c", transport.Start{}), "Seek")
	look(p.Forget(ctx, t.Name, "c"), "Forget")
	look(p.DeleteTopic(ctx, t.Name), "DeleteTopic")
	_, err = p.Topics(ctx)
	look(err, "Topics")
	_, err = m.Fetch(ctx, l, 0, 1, 1)
	look(err, "Fetch")
	_, err = m.Load(ctx, l, nil)
	look(err, "Load")
	_, err = m.Begin(ctx, l, transport.EventRef{Offset: 1})
	look(err, "Begin")
	look(m.Commit(ctx, l, transport.Commit{}), "Commit")
	look(m.Release(ctx, l), "Release")
}

func testCapabilities(c *check) {
	t, p := c.topic(0), c.open()
	before := p.LogCapabilities()
	if before.Name == "" || before.MaxPayload < 0 || before.Poll < 0 {
		c.wrong("a name, and bounds of 0 or more", "%+v", before)
	}
	c.same("the features that are claimed", []any{c.features.Shared, c.features.Within, c.features.MaxPayload}, []any{before.Shared, before.Within, before.MaxPayload})
	p.topic(t)
	p.append(t, events(0, 1)...)
	c.same("the capabilities later", p.LogCapabilities(), before)
}

func testClaim(c *check) {
	t, p := c.topic(0), c.open()
	claimer, ok := p.Log.(transport.Claimer)
	if !ok {
		c.fatal("a transport.Claimer", "%T", p.Log)
	}
	for range 2 {
		c.succeeds(claimer.Claim(), "Claim")
		c.fails(claimer.Claim(), transport.ErrInUse, "a second Claim")
		p.topic(t)
		p.consume(t).lease(0)
		c.succeeds(p.stop(), "Serve")
		claimer.Release()
		p.start()
	}
}
