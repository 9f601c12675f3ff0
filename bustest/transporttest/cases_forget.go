package transporttest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

var forgetCases = []Case{
	{
		Name: "forget", run: testForget, needs: []need{ephemeral, forget},
		Rule: "Forget drops what is kept of one publisher on a topic. Other publishers and topics are not touched, and no subscription is.",
	},
	{
		Name: "forget-again", run: testForgetAgain, needs: []need{ephemeral, forget},
		Rule: "A topic is published on again by another publisher, whose numbers begin with 1.",
	},
	{
		Name: "forget-unknown", run: testForgetUnknown, needs: []need{ephemeral, forget},
		Rule: "Of a publisher or a topic that is not known there is nothing to forget. An error means that it is not forgotten; Forget may then be called again.",
	},
	{
		Name: "forget-gap", run: testForgetGap, needs: []need{ephemeral, sever, forget},
		Rule: "What subscribers have not got of the events of a publisher that is forgotten they still get, or are told of in a Gap.",
	},
}

func (p *peer) forgetter() transport.Forgetter {
	f, ok := p.Transport.(transport.Forgetter)
	if !ok {
		p.c.fatal("a transport.Forgetter, as Features says", "none")
	}
	return f
}

// forget fails the case when it fails.
func (p *peer) forget(topic transport.Topic, publisher string) {
	p.c.Helper()
	ctx, cancel := p.c.context()
	defer cancel()
	if err := p.forgetter().Forget(ctx, topic, publisher); err != nil {
		p.c.fatal("Forget succeeds", "%s", show(err))
	}
}

func testForget(c *check) {
	n := min(c.features.Partitions, 3)
	topic, other := c.topic(n), c.topic(0)
	a, b := c.join(topic, other), c.join(topic, other)
	gone, stays := c.publisher(1), c.publisher(2)
	const each = 4
	var whole, half []stream
	publish := func(from int, publishers ...string) {
		for i := from; i < from+each; i++ {
			for _, publisher := range publishers {
				for p := range max(1, n) {
					a.publish(event(topic, p, publisher, i))
				}
			}
			a.publish(event(other, 0, gone, i))
		}
	}
	for p := range max(1, n) {
		half, whole = append(half, stream{topic, p, gone}), append(whole, stream{topic, p, stays})
	}
	whole = append(whole, stream{other, 0, gone})
	publish(0, gone, stays)
	a.forget(topic, gone)
	publish(each, stays)
	c.quiet()
	publish(2*each, stays)
	for _, p := range []*peer{a, b} {
		p.awaitSettled(1, each, half...)
		p.awaitSettled(1, 3*each, whole...)
		if gaps := p.recorder.gapsOf(topic); len(gaps) > 0 {
			c.wrong("no gap", "%s", some(gaps))
		}
	}
}

func testForgetAgain(c *check) {
	topic := c.topic(0)
	a, b := c.join(topic), c.join(topic)
	for round := range 10 {
		publisher := c.publisher(round)
		for _, p := range []*peer{a, b} {
			p.recorder.wait(c.waitTimeout(), func() bool { return p.recorder.count(topic) >= 3*round })
		}
		a.publish(events(topic, publisher, 0, 3)...)
		a.forget(topic, publisher)
		if round%2 == 1 {
			a.unsubscribe(topic)
			a.subscribe(topic)
		}
	}
	for round := range 10 {
		b.awaitSettled(1, 3, stream{topic, 0, c.publisher(round)})
	}
	if gaps := b.recorder.gapsOf(topic); len(gaps) > 0 {
		c.wrong("no gap", "%s", some(gaps))
	}
}

func testForgetUnknown(c *check) {
	topic, other := c.topic(0), c.topic(c.features.Partitions)
	a, b := c.connect(), c.join(topic)
	a.forget(topic, c.publisher(1)) // it needs no Serve
	a.start()
	a.publish(event(topic, 0, c.publisher(1), 0))
	a.forget(topic, c.publisher(2))
	a.forget(other, c.publisher(1))
	a.publish(event(topic, 0, c.publisher(1), 1))
	c.fails(a.forgetter().Forget(c.ended(), topic, c.publisher(1)), errEnough, "Forget whose context has ended")
	a.publish(event(topic, 0, c.publisher(1), 2))
	b.awaitSettled(1, 3, stream{topic, 0, c.publisher(1)})
	a.forget(topic, c.publisher(1))
	a.forget(topic, c.publisher(1))
}

func testForgetGap(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	gone := stream{topic, 0, c.publisher(1)}
	next := reach(a, b, topic, gone.publisher, 0)
	mend := b.sever()
	a.publishAll(events(topic, gone.publisher, next, next+5))
	a.forget(topic, gone.publisher)
	mend()
	reach(a, b, topic, c.publisher(2), 0)
	told := func() bool {
		if b.recorder.seqAudit(gone).complete(1, uint64(next+5)) {
			return true
		}
		for _, g := range b.recorder.gapsOf(topic) { // of unknown length
			if !g.Measured() && (g.Publisher == "" || g.Publisher == gone.publisher) {
				return true
			}
		}
		return false
	}
	if !b.recorder.wait(c.waitTimeout(), told) {
		c.wrong(fmt.Sprintf("each of the numbers 1 to %d, or a gap that tells of it", next+5), "%s; gaps: %s",
			some(ids(b.recorder.of(topic))), some(b.recorder.gapsOf(topic)))
	}
	for n, times := range b.recorder.seqAudit(gone).received {
		if times > 1 {
			c.wrong("no event twice", "number %d came %d times", n, times)
		}
	}
}
