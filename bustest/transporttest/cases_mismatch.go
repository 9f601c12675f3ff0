package transporttest

import "github.com/shardbus/shardbus/transport"

var mismatchCases = []Case{
	{
		Name: "mismatch-partitions", run: testMismatchPartitions, needs: []need{ephemeral, partitions, mismatch},
		Rule: "A transport tells of a peer that knows a topic otherwise, on both sides. What is published on other partitions does not arrive.",
	},
	{
		Name: "mismatch-type", run: testMismatchType, needs: []need{ephemeral, mismatch},
		Rule: "A transport tells of a peer whose events have another type or media type, on both sides. They arrive all the same.",
	},
	{
		Name: "mismatch-none", run: testMismatchNone, needs: []need{ephemeral, mismatch},
		Rule: "What is unknown of a topic is not compared, and peers that agree are not reported.",
	},
}

// publishAs publishes an event on a topic as a peer knows that.
func (p *peer) publishAs(topic transport.Topic, publisher string, i int) {
	p.c.Helper()
	env := event(topic, 0, publisher, i)
	env.ContentType, env.TypeName = topic.ContentType, topic.TypeName
	p.publish(env)
}

// awaitMismatch waits until p was told how a peer knows a topic, and returns what of that is not as it should be.
func (p *peer) awaitMismatch(here, there transport.Topic, subscribes bool, name string) {
	p.c.Helper()
	var last []transport.Mismatch
	if !p.recorder.wait(p.c.waitTimeout(), func() bool {
		last = p.recorder.mismatchesOf(here)
		return len(last) > 0
	}) {
		p.c.fatal("to be told of a peer that knows "+here.Name+" otherwise", "nothing within %v", p.c.waitTimeout())
	}
	for _, m := range last {
		if m.Here != here || m.There != there || m.Subscribes != subscribes || m.Peer == "" || name != "" && m.Peer != name {
			p.c.wrong("what differs, and of whom", "%+v, where peer %q knows %+v, and here it is %+v", m, name, there, here)
		}
	}
}

func testMismatchPartitions(c *check) {
	here := c.topic(c.features.Partitions)
	here.TypeName = "example.com/shop.Order"
	there := here
	there.Partitions = c.features.Partitions + 1
	pub, sub := c.join(), c.connect()
	pub.publishAs(there, c.publisher(1), 0)
	sub.start()
	sub.subscribe(here)
	sub.awaitMismatch(here, there, false, c.publisher(1))
	pub.awaitMismatch(there, here, true, "")
	pub.publishAs(there, c.publisher(1), 1)
	c.quiet()
	if n := sub.recorder.count(here); n != 0 {
		c.wrong("nothing of what is published on other partitions", "%s", plural(n))
	}
}

func testMismatchType(c *check) {
	here := c.topic(0)
	here.TypeName, here.ContentType = "example.com/shop.Order", "application/json"
	there := here
	there.TypeName, there.ContentType = "example.com/shop.Bill", "text/plain"
	pub, sub := c.join(), c.connect()
	pub.publishAs(there, c.publisher(1), 0)
	sub.start()
	sub.subscribe(here)
	sub.awaitMismatch(here, there, false, c.publisher(1))
	pub.awaitMismatch(there, here, true, "")
	pub.publishAs(there, c.publisher(1), 1)
	sub.awaitCount(here, 1)
}

func testMismatchNone(c *check) {
	here := c.topic(0)
	here.TypeName, here.ContentType = "example.com/shop.Order", "application/json"
	pub, sub := c.join(), c.join(here)
	bare := transport.Topic{Name: here.Name}
	params := here
	params.ContentType = "application/json; charset=utf-8"
	for i, topic := range []transport.Topic{here, bare, params} {
		pub.publishAs(topic, c.publisher(i+1), 0)
	}
	sub.awaitCount(here, 3)
	c.quiet()
	for _, p := range []*peer{pub, sub} {
		if found := p.recorder.mismatchesOf(here); len(found) > 0 {
			c.wrong("nothing to be told of peers that agree", "%v", found)
		}
	}
}
