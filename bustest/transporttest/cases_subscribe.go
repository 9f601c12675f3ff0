package transporttest

import (
	"github.com/shardbus/shardbus/transport"
)

var subscribeCases = []Case{
	{
		Name: "subscribe-live", run: testSubscribeLive, needs: []need{ephemeral},
		Rule: "Subscribe returns when it is live: everything accepted from then on arrives or is reported.",
	},
	{
		Name: "subscribe-twice", run: testSubscribeTwice, needs: []need{ephemeral},
		Rule: "Subscribing to a subscribed topic does nothing.",
	},
	{
		Name: "subscribe-other-partitions", run: testSubscribeOtherPartitions, needs: []need{ephemeral, partitions},
		Rule: "Subscribing to a subscribed topic with another number of partitions is an error.",
	},
	{
		Name: "subscribe-waits-for-serve", run: testSubscribeWaits, needs: []need{ephemeral},
		Rule: "Subscribe waits for a Serve that is not running yet.",
	},
	{
		Name: "subscribe-context", run: testSubscribeContext, needs: []need{ephemeral},
		Rule: "A context that has ended fails a call with its cause. An error leaves the topic unsubscribed.",
	},
	{
		Name: "unsubscribe-ends", run: testUnsubscribeEnds, needs: []need{ephemeral},
		Rule: "When Unsubscribe returns, no event of the topic arrives any more. Other topics are not touched.",
	},
	{
		Name: "unsubscribe-context", run: testUnsubscribeContext, needs: []need{ephemeral},
		Rule: "When Unsubscribe returns, with an error too, no event and no Gap of the topic arrives any more.",
	},
	{
		Name: "unsubscribe-unknown", run: testUnsubscribeUnknown, needs: []need{ephemeral},
		Rule: "Unsubscribe needs no Serve. Unsubscribing from a topic that is not subscribed does nothing.",
	},
	{
		Name: "subscribe-again", run: testSubscribeAgain, needs: []need{ephemeral},
		Rule: "A topic that was unsubscribed can be subscribed again, and is live when Subscribe returns.",
	},
}

func testSubscribeLive(c *check) {
	a, b := c.join(), c.join()
	for range 20 {
		topic := c.topic(0)
		b.subscribe(topic)
		a.publish(event(topic, 0, c.publisher(1), 0))
		b.awaitCount(topic, 1)
	}
}

func testSubscribeTwice(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic, topic)
	b.subscribe(topic)
	const n = 20
	a.publishAll(events(topic, c.publisher(1), 0, n))
	b.awaitSettled(1, n, stream{topic, 0, c.publisher(1)})
	b.unsubscribe(topic) // once, for all three
	a.publish(event(topic, 0, c.publisher(1), n))
	c.quiet()
	if got := b.recorder.count(topic); got != n {
		c.wrong("one Unsubscribe ends it", "%s behind it", plural(got-n))
	}
}

func testSubscribeOtherPartitions(c *check) {
	topic := c.topic(c.features.Partitions)
	a, b := c.join(), c.join(topic)
	ctx, cancel := c.context()
	defer cancel()
	for _, n := range []int{0, c.features.Partitions + 1} {
		c.fails(b.Subscribe(ctx, transport.Topic{Name: topic.Name, Partitions: n}), transport.ErrInvalidTopic, "Subscribe with another number of partitions")
	}
	var streams []stream
	for p := range topic.Partitions {
		a.publish(event(topic, p, c.publisher(1), 0))
		streams = append(streams, stream{topic, p, c.publisher(1)})
	}
	b.awaitSettled(1, 1, streams...)
}

func testSubscribeWaits(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.connect()
	ctx, cancel := c.context()
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.Subscribe(ctx, topic) }() // ends with its context
	c.quiet()
	select {
	case err := <-done:
		c.fatal("a Subscribe that waits", "it has returned %s", show(err))
	default:
	}
	b.start()
	if err := <-done; err != nil {
		c.fatal("Subscribe succeeds once Serve runs", "%s", show(err))
	}
	a.publish(event(topic, 0, c.publisher(1), 0))
	b.awaitCount(topic, 1)
}

func testSubscribeContext(c *check) {
	ended, waited, live := c.topic(0), c.topic(0), c.topic(0)
	a, b := c.join(), c.connect()
	c.inTime(grace, "Subscribe whose context ends while it waits for Serve", func() {
		ctx, cancel := c.brief()
		defer cancel()
		c.fails(b.Subscribe(ctx, waited), errEnough, "Subscribe whose context ends while it waits for Serve")
	})
	for _, served := range []bool{false, true} {
		if served {
			b.start()
			b.subscribe(live)
		}
		c.inTime(grace, "Subscribe with a context that has ended", func() {
			c.fails(b.Subscribe(c.ended(), ended), errEnough, "Subscribe with a context that has ended")
		})
	}
	c.quiet()
	a.publish(event(ended, 0, c.publisher(1), 0), event(waited, 0, c.publisher(1), 0), event(live, 0, c.publisher(1), 0))
	b.awaitCount(live, 1)
	c.quiet()
	if got := b.recorder.count(ended) + b.recorder.count(waited); got > 0 {
		c.wrong("nothing of topics whose Subscribe failed", "%s", plural(got))
	}
	b.subscribe(ended, waited) // nothing stands in the way of the next
	a.publish(event(ended, 0, c.publisher(1), 1), event(waited, 0, c.publisher(1), 1))
	b.awaitCount(ended, 1)
	b.awaitCount(waited, 1)
}

func testUnsubscribeEnds(c *check) {
	topic, stays := c.topic(0), c.topic(0)
	a, b := c.join(), c.join(stays)
	busy := c.background()
	published := 0
	busy.repeat(c, func() {
		ctx, cancel := c.context()
		defer cancel()
		a.try(ctx, event(topic, 0, c.publisher(1), published), event(stays, 0, c.publisher(1), published))
		published++
	})
	for range 10 {
		b.subscribe(topic)
		b.awaitCount(topic, b.recorder.count(topic)+1)
		b.unsubscribe(topic)
		before := b.recorder.count(topic)
		b.awaitCount(stays, b.recorder.count(stays)+5)
		if after := b.recorder.count(topic); after != before {
			c.fatal("nothing behind Unsubscribe", "%s", plural(after-before))
		}
	}
	busy.stop()
	b.awaitSettled(1, uint64(published), stream{stays, 0, c.publisher(1)})
}

func testUnsubscribeContext(c *check) {
	topic, stays := c.topic(0), c.topic(0)
	a, b := c.join(), c.join(topic, stays)
	a.publish(event(topic, 0, c.publisher(1), 0))
	b.awaitCount(topic, 1)
	var err error
	c.inTime(grace, "Unsubscribe with a context that has ended", func() { err = b.Unsubscribe(c.ended(), topic) })
	if err != nil {
		c.fails(err, errEnough, "Unsubscribe with a context that has ended, if at all,")
	}
	a.publish(event(topic, 0, c.publisher(1), 1), event(stays, 0, c.publisher(1), 0))
	b.awaitCount(stays, 1)
	c.quiet()
	if n := b.recorder.count(topic); n != 1 || len(b.recorder.gapsOf(topic)) > 0 {
		c.wrong("nothing behind Unsubscribe", "%s, gaps: %s", plural(n-1), some(b.recorder.gapsOf(topic)))
	}
}

func testUnsubscribeUnknown(c *check) {
	topic, stays := c.topic(0), c.topic(0)
	a, b := c.join(), c.connect()
	b.unsubscribe(topic) // before Serve
	b.start()
	b.subscribe(stays)
	b.unsubscribe(topic)
	b.unsubscribe(topic)
	a.publish(event(stays, 0, c.publisher(1), 0))
	b.awaitCount(stays, 1)
	b.stop()
	b.unsubscribe(topic) // after it
}

func testSubscribeAgain(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join()
	for n := range 5 {
		b.subscribe(topic)
		before := b.recorder.count(topic)
		a.publish(event(topic, 0, c.publisher(1), 2*n))
		b.awaitCount(topic, before+1)
		b.unsubscribe(topic)
		a.publish(event(topic, 0, c.publisher(1), 2*n+1)) // for nobody
	}
	c.quiet()
	if n, gaps := b.recorder.count(topic), b.recorder.gapsOf(topic); n != 5 || len(gaps) > 0 {
		c.wrong("the 5 events that were published while it was subscribed, and no gap", "%s, gaps: %s", plural(n), some(gaps))
	}
}
