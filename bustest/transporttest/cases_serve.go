package transporttest

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/shardbus/shardbus/transport"
)

var serveCases = []Case{
	{
		Name: "serve-ends", run: testServeEnds, needs: []need{ephemeral},
		Rule: "Serve runs the transport until ctx ends, and then returns nil. That takes less than a bus's grace, of 5 s.",
	},
	{
		Name: "serve-spares-sink", run: testServeSparesSink, needs: []need{ephemeral},
		Rule: "Serve returns once sink is no longer called.",
	},
	{
		Name: "serve-leaves-nothing", run: testServeLeavesNothing, needs: []need{ephemeral},
		Rule: "Serve returns once nothing of it runs any more.",
	},
	{
		Name: "serve-second", run: testServeSecond, needs: []need{ephemeral},
		Rule: "A second Serve beside the first fails at once with ErrInUse and leaves the first alone.",
	},
	{
		Name: "serve-again", run: testServeAgain, needs: []need{ephemeral},
		Rule: "Serve may be called again after it returned, with another sink. What was subscribed becomes live again by itself.",
	},
	{
		Name: "serve-again-gap", run: testServeAgainGap, needs: []need{ephemeral},
		Rule: "What was accepted between two Serves arrives at the second or is reported as a Gap.",
	},
}

func testServeEnds(c *check) {
	topic := c.topic(0)
	a, b := c.join(topic), c.join(topic)
	for range 3 {
		b.stop()
		b.start()
	}
	a.publish(event(topic, 0, c.publisher(1), 0))
	b.stop()
	a.stop()
	idle := c.connect() // never subscribed to anything
	idle.start()
	idle.stop()
	c.inTime(grace, "Serve with a context that has ended", func() {
		if err := idle.Serve(c.ended(), newRecorder()); err != nil {
			c.wrong("nil from a Serve whose context has ended", "%s", show(err))
		}
	})
}

func testServeSparesSink(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	busy := c.background()
	n := 0
	busy.repeat(c, func() {
		ctx, cancel := c.context()
		defer cancel()
		a.try(ctx, events(topic, c.publisher(1), n, n+5)...)
		n += 5
	})
	var recorders []*recorder
	for round := range 10 {
		b.awaitCount(topic, 10)
		a.publish(events(topic, c.publisher(2), 20*round, 20*round+20)...) // is on its way
		b.stop()
		recorders = append(recorders, b.recorder)
		b.start()
	}
	b.awaitCount(topic, 1)
	busy.stop()
	c.quiet()
	for _, recorder := range recorders {
		recorder.mu.Lock()
		late := recorder.late
		recorder.mu.Unlock()
		if late > 0 {
			c.fatal("a sink that is left alone when Serve has returned", "%d calls", late)
		}
	}
}

func testServeLeavesNothing(c *check) {
	topic := c.topic(0)
	p := c.connect()
	for range 3 {
		p.start()
		p.subscribe(topic)
		p.publish(event(topic, 0, c.publisher(1), 0))
		p.awaitCount(topic, 1)
		p.unsubscribe(topic)
		p.stop()
	}
	if closer, ok := p.Transport.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			c.wrong("Close succeeds", "%s", show(err))
		}
	}
	if left := c.alone(); left != "" {
		c.wrong("no goroutine of the transport", "these are left: %s", left)
	}
}

func testServeSecond(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	for range 2 {
		c.inTime(grace, "a second Serve", func() {
			ctx, cancel := context.WithCancel(c.base)
			defer cancel()
			c.fails(b.Serve(ctx, newRecorder()), transport.ErrInUse, "a second Serve")
		})
		before := b.recorder.count(topic)
		a.publish(event(topic, 0, c.publisher(1), before))
		b.awaitCount(topic, before+1)
	}
}

func testServeAgain(c *check) {
	topic, left := c.topic(0), c.topic(0)
	many := c.topic(min(c.features.Partitions, 5))
	a, b := c.join(), c.join(topic, left, many)
	for round := range 3 {
		b.stop()
		b.unsubscribe(left)
		b.start()
		marker := func(env *transport.Envelope) string {
			return strings.Join([]string{env.Topic, fmt.Sprint(env.Partition), env.ID}, " ")
		}
		// Live by itself: nothing tells when, so events are published until they arrive.
		for n := 0; ; n++ {
			want := []*transport.Envelope{event(topic, 0, c.publisher(round), n)}
			for p := range max(1, many.Partitions) {
				want = append(want, event(many, p, c.publisher(round), n))
			}
			missing := make(map[string]bool)
			for _, env := range want {
				missing[marker(env)] = true
			}
			a.publish(want...)
			a.publish(event(left, 0, c.publisher(round), n))
			b.recorder.wait(c.waitTimeout()/200, func() bool {
				for _, env := range append(b.recorder.of(topic), b.recorder.of(many)...) {
					delete(missing, marker(env))
				}
				return len(missing) == 0
			})
			if len(missing) == 0 {
				break
			}
			if n == 200 {
				c.fatal("topics that are live again", "%d of %d partitions are not after %v", len(missing), len(want), c.waitTimeout())
			}
		}
		if n := b.recorder.count(left); n > 0 {
			c.fatal("nothing of the topic that was unsubscribed", "%s", plural(n))
		}
	}
}

func testServeAgainGap(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	const n = 10
	from := 0
	more := func() {
		a.publishAll(events(topic, c.publisher(1), from, from+n))
		from += n
	}
	more()
	b.awaitCount(topic, n) // the publisher was heard of
	all := newRecorder()
	for range 3 {
		b.stop()
		all.add(b.recorder)
		more() // for nobody, now
		b.start()
		b.subscribe(c.topic(0)) // so Serve runs
		more()
		b.recorder.wait(c.waitTimeout(), func() bool {
			sum := newRecorder()
			sum.add(all)
			sum.add(b.recorder)
			return sum.seqAudit(stream{topic, 0, c.publisher(1)}).complete(1, uint64(from))
		})
	}
	c.quiet()
	all.add(b.recorder)
	if faults := all.seqAudit(stream{topic, 0, c.publisher(1)}).faults(1, uint64(from)); len(faults) > 0 {
		c.wrong(fmt.Sprintf("each of the numbers 1 to %d once at one of the sinks, received or in a gap", from), "%s", some(faults))
	}
}

// add takes over what another recorder got.
func (b *recorder) add(other *recorder) {
	other.mu.Lock()
	defer other.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.copies = append(b.copies, other.copies...)
	b.gaps = append(b.gaps, other.gaps...)
}
