package transporttest

import (
	"fmt"
	"io"
	"sync"

	"github.com/shardbus/shardbus/transport"
)

var lifeCases = []Case{
	{
		Name: "claim", run: testClaim, needs: []need{claim},
		Rule: "Claim takes the transport, or returns an error that wraps ErrInUse. Release gives it back, and the next bus may claim it.",
	},
	{
		Name: "claim-release-forgets", run: testReleaseForgets, needs: []need{ephemeral, claim},
		Rule: "Release forgets subscriptions.",
	},
	{
		Name: "close", run: testClose, needs: []need{ephemeral, closing},
		Rule: "Close ends the transport for good, a running Serve included, and waits for that. Serve then returns an error that wraps ErrClosed. Closing again does nothing.",
	},
	{
		Name: "close-fails-all", run: testCloseFailsAll, needs: []need{ephemeral, closing},
		Rule: "After Close every Serve, Publish and Subscribe returns an error that wraps ErrClosed, at once.",
	},
}

func (p *peer) claimer() transport.Claimer {
	claimer, ok := p.Transport.(transport.Claimer)
	if !ok {
		p.c.fatal("a transport.Claimer, as Features says", "none")
	}
	return claimer
}

func (p *peer) closer() io.Closer {
	closer, ok := p.Transport.(io.Closer)
	if !ok {
		p.c.fatal("a transport with a Close, as Features says", "none")
	}
	return closer
}

func testClaim(c *check) {
	claimer := c.connect().claimer()
	for range 3 {
		// Of many at once, one gets it.
		const n = 8
		errs := make([]error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { errs[i] = claimer.Claim() })
		}
		all.Wait()
		taken := 0
		for _, err := range errs {
			if err == nil {
				taken++
			} else {
				c.fails(err, transport.ErrInUse, "Claim of what is claimed")
			}
		}
		if taken != 1 {
			c.fatal(fmt.Sprintf("one of %d Claim calls succeeds", n), "%d did", taken)
		}
		claimer.Release()
	}
	if err := c.connect().claimer().Claim(); err != nil {
		c.wrong("another transport can be claimed", "%s", show(err))
	}
}

func testReleaseForgets(c *check) {
	topic, next := c.topic(0), c.topic(0)
	a, b := c.join(), c.connect()
	claimer := b.claimer()
	if err := claimer.Claim(); err != nil {
		c.fatal("Claim succeeds", "%s", show(err))
	}
	b.start()
	b.subscribe(topic)
	a.publish(event(topic, 0, c.publisher(1), 0))
	b.awaitCount(topic, 1)
	b.stop()
	claimer.Release()
	a.publish(event(topic, 0, c.publisher(1), 1))
	if err := claimer.Claim(); err != nil {
		c.fatal("Claim succeeds after Release", "%s", show(err))
	}
	b.start()
	b.subscribe(next)
	a.publish(event(topic, 0, c.publisher(1), 2), event(next, 0, c.publisher(1), 0))
	b.awaitCount(next, 1)
	c.quiet()
	if n, gaps := b.recorder.count(topic), b.recorder.gapsOf(topic); n > 0 || len(gaps) > 0 {
		c.wrong("nothing of the topics of the bus before", "%s, gaps: %s", plural(n), some(gaps))
	}
	b.stop()
	claimer.Release()
}

func testClose(c *check) {
	topic := c.topic(0)
	for _, when := range []string{"before Serve", "while Serve runs", "after Serve"} {
		p := c.connect()
		if when != "before Serve" {
			p.start()
			p.subscribe(topic)
		}
		if when == "after Serve" {
			p.stop()
		}
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := p.closer().Close(); err != nil {
					c.wrong("Close succeeds "+when, "%s", show(err))
				}
			})
		}
		c.inTime(grace, "Close "+when, all.Wait)
		if p.served != nil {
			p.ended(func(err error) { c.fails(err, transport.ErrClosed, "Serve that Close ends") })
			recorder := p.recorder
			recorder.mu.Lock()
			late := recorder.late
			recorder.mu.Unlock()
			if late > 0 {
				c.wrong("a sink that is left alone", "%d calls", late)
			}
		}
		if err := p.closer().Close(); err != nil {
			c.wrong("Close succeeds again", "%s", show(err))
		}
	}
}

func testCloseFailsAll(c *check) {
	topic := c.topic(0)
	for _, served := range []bool{false, true} {
		p := c.connect()
		if served {
			p.start()
			p.subscribe(topic)
			p.stop()
		}
		if err := p.closer().Close(); err != nil {
			c.wrong("Close succeeds", "%s", show(err))
		}
		ctx, cancel := c.context()
		c.inTime(grace, "Publish after Close", func() {
			c.fails(p.try(ctx, event(topic, 0, c.publisher(1), 0))[0].Err, transport.ErrClosed, "Publish after Close")
		})
		c.inTime(grace, "Subscribe after Close", func() {
			c.fails(p.Subscribe(ctx, c.topic(0)), transport.ErrClosed, "Subscribe after Close")
		})
		c.inTime(grace, "Serve after Close", func() { c.fails(p.Serve(ctx, newRecorder()), transport.ErrClosed, "Serve after Close") })
		c.inTime(grace, "Unsubscribe after Close", func() { _ = p.Unsubscribe(ctx, topic) })
		cancel()
	}
}
