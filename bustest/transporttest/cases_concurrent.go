package transporttest

import (
	"context"
	"sync"
	"sync/atomic"
)

var concurrentCases = []Case{
	{
		Name: "concurrent", run: testConcurrent, needs: []need{ephemeral},
		Rule: "All methods are safe for concurrent use.",
	},
}

// testConcurrent has everything happen at once on two transports, beside one that
// is left in peace and must get all of it.
func testConcurrent(c *check) {
	topic, flicker := c.topic(0), c.topic(0)
	witness := c.join(topic)
	restless := c.join(topic)
	calm := c.join()
	everything := c.background()
	var accepted [3]atomic.Int64
	for p, from := range []*peer{calm, calm, restless} {
		n := 0
		everything.repeat(c, func() {
			ctx, cancel := c.context()
			defer cancel()
			for _, r := range from.try(ctx, events(topic, c.publisher(p), n, n+3)...) {
				if r.Err == nil {
					accepted[p].Add(1)
				}
			}
			n += 3
		})
	}
	for _, p := range []*peer{calm, restless} {
		for range 2 {
			everything.repeat(c, func() {
				ctx, cancel := c.brief()
				defer cancel()
				_ = p.Subscribe(ctx, flicker)
				_ = p.Unsubscribe(ctx, flicker)
			})
		}
		everything.repeat(c, func() {
			ctx, cancel := context.WithCancelCause(c.base)
			var both sync.WaitGroup
			both.Go(func() { cancel(errEnough) })
			_ = p.Subscribe(ctx, flicker)
			p.try(ctx, event(flicker, 0, c.publisher(9), 0))
			both.Wait()
			p.Capabilities()
		})
	}
	for range 10 {
		restless.stop()
		restless.start()
		witness.awaitCount(topic, witness.recorder.count(topic)+20)
	}
	everything.stop()
	for p := range 2 { // the restless one's numbers may have holes: its publishes failed
		last := uint64(accepted[p].Load())
		witness.awaitSettled(1, last, stream{topic, 0, c.publisher(p)})
	}
	seen := make(map[string]bool)
	for _, env := range witness.recorder.of(topic) {
		if seen[env.ID] {
			c.fatal("no event twice", "%s", env.ID)
		}
		seen[env.ID] = true
	}
	for _, p := range []*peer{calm, restless} {
		p.unsubscribe(flicker)
		before := p.recorder.count(flicker)
		calm.publish(event(flicker, 0, c.publisher(8), 0), event(topic, 0, c.publisher(8), 0))
		c.quiet()
		if n := p.recorder.count(flicker) - before; n > 0 {
			c.wrong("nothing of a topic that is unsubscribed in the end", "%s", plural(n))
		}
	}
}
