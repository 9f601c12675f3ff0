package transporttest

import (
	"fmt"
	"sync"

	"github.com/shardbus/shardbus/transport"
)

var deliveryCases = []Case{
	{
		Name: "deliver-once", run: testDeliverOnce, needs: []need{ephemeral},
		Rule: "Everything accepted from then on arrives once or is reported in one Gap.",
	},
	{
		Name: "deliver-order", run: testDeliverOrder, needs: []need{ephemeral},
		Rule: "What one caller publishes on a topic and partition, in one call or in one after another, gets its numbers and arrives in that order.",
	},
	{
		Name: "deliver-order-of-many", run: testDeliverOrderOfMany, needs: []need{ephemeral},
		Rule: "The transport calls Deliver in the order of each publisher's sequence on a topic and partition, however many publish.",
	},
	{
		Name: "deliver-to-all", run: testDeliverToAll, needs: []need{ephemeral},
		Rule: "Every transport that is subscribed gets every event, those that it publishes itself included.",
	},
	{
		Name: "deliver-topics-apart", run: testDeliverTopicsApart, needs: []need{ephemeral},
		Rule: "Subscribe makes the topic's events arrive, and those of no other topic, however alike the names are.",
	},
	{
		Name: "deliver-partitions", run: testDeliverPartitions, needs: []need{ephemeral, partitions},
		Rule: "Subscribe makes the events of all the topic's partitions arrive; each partition has its numbers from 1.",
	},
	{
		Name: "deliver-slow-sink", run: testDeliverSlowSink, needs: []need{ephemeral},
		Rule: "A slow Deliver delays what follows; nothing is lost because of it without a Gap.",
	},
	{
		Name: "deliver-no-false-gap", run: testDeliverNoFalseGap, needs: []need{ephemeral},
		Rule: "Gap reports events that will not be delivered; where nothing was lost since Subscribe there is none.",
	},
}

func testDeliverOnce(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	const n = 2000
	a.publishAll(events(topic, c.publisher(1), 0, n))
	b.awaitSettled(1, n, stream{topic, 0, c.publisher(1)})
}

func testDeliverOrder(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	const n = 1000
	for from, size := 0, 1; from < n; size = size%37 + 1 { // calls of all sizes
		to := min(n, from+size)
		a.publish(events(topic, c.publisher(1), from, to)...)
		from = to
	}
	for i, env := range b.awaitCount(topic, n) {
		if want := fmt.Sprint(i); string(env.Payload) != want || env.Seq != uint64(i+1) {
			c.fatal(fmt.Sprintf("event %s with number %d", want, i+1), "event %s with number %d", env.Payload, env.Seq)
		}
	}
}

func testDeliverOrderOfMany(c *check) {
	topic := c.topic(0)
	b := c.join(topic)
	const publishers, callers, calls, size = 2, 3, 30, 4
	var all sync.WaitGroup
	for p := range publishers {
		a := c.join()
		for caller := range callers {
			all.Go(func() {
				for i := range calls {
					envs := events(topic, c.publisher(p), i*size, i*size+size)
					for _, env := range envs {
						env.Key = fmt.Sprint(caller)
					}
					ctx, cancel := c.context()
					for _, r := range a.try(ctx, envs...) {
						if r.Err != nil {
							c.wrong("Publish succeeds", "%s", show(r.Err))
						}
					}
					cancel()
				}
			})
		}
	}
	all.Wait()
	last, next := make(map[string]uint64), make(map[string]int)
	for _, env := range b.awaitCount(topic, publishers*callers*calls*size) {
		if env.Seq <= last[env.Publisher] {
			c.fatal("numbers of a publisher that rise", "number %d behind %d", env.Seq, last[env.Publisher])
		}
		last[env.Publisher] = env.Seq
		of := env.Publisher + " " + env.Key
		if want := fmt.Sprint(next[of]); string(env.Payload) != want {
			c.fatal("event "+want+" of a caller", "event %s", env.Payload)
		}
		next[of]++
	}
}

func testDeliverToAll(c *check) {
	topic := c.topic(0)
	peers := []*peer{c.join(topic), c.join(topic), c.join(topic)}
	const n = 50
	for i := range n {
		for p, from := range peers {
			from.publish(event(topic, 0, c.publisher(p), i))
		}
	}
	var streams []stream
	for p := range peers {
		streams = append(streams, stream{topic, 0, c.publisher(p)})
	}
	for _, to := range peers {
		to.awaitSettled(1, n, streams...)
	}
}

func testDeliverTopicsApart(c *check) {
	base := c.topic(0).Name
	var topics []transport.Topic
	for _, suffix := range []string{"", ".", "x", ".x", ":x", "-x", "_x", ".X", ":p0", ".*", "x.x"} {
		if topic := (transport.Topic{Name: base + suffix}); topic.Validate() == nil {
			topics = append(topics, topic)
		}
	}
	a := c.join()
	var subscribers []*peer
	for i := range topics { // every second alone, and one with all
		if i%2 == 0 {
			subscribers = append(subscribers, c.join(topics[i]))
		}
	}
	all := c.join(topics...)
	const n = 10
	for i := range n {
		for p, topic := range topics {
			a.publish(event(topic, 0, c.publisher(p), i))
		}
	}
	var streams []stream
	for p, topic := range topics {
		streams = append(streams, stream{topic, 0, c.publisher(p)})
	}
	all.awaitSettled(1, n, streams...)
	for i, b := range subscribers {
		b.awaitCount(topics[2*i], n)
	}
	for i, b := range append(subscribers, all) {
		b.recorder.mu.Lock()
		for _, env := range b.recorder.copies {
			if own := i == len(subscribers) || env.Topic == topics[2*i].Name; !own || env.ID != fmt.Sprintf("%s/%s", c.publisher(indexOf(topics, env.Topic)), env.Payload) {
				c.wrong("events of the topics subscribed to, each under its own", "%s of topic %s", env.ID, env.Topic)
				break
			}
		}
		b.recorder.mu.Unlock()
	}
}

func indexOf(topics []transport.Topic, name string) int {
	for i, topic := range topics {
		if topic.Name == name {
			return i
		}
	}
	return -1
}

func testDeliverPartitions(c *check) {
	counts := []int{1}
	for _, n := range []int{2, 7, 16} {
		if n <= c.features.Partitions {
			counts = append(counts, n)
		}
	}
	for _, n := range counts {
		topic := c.topic(n)
		a, b := c.join(), c.join(topic)
		const each = 20
		var batch []*transport.Envelope
		for i := range each {
			for p := range n {
				batch = append(batch, event(topic, p, c.publisher(1), i))
			}
		}
		a.publishAll(batch)
		var streams []stream
		for p := range n {
			streams = append(streams, stream{topic, p, c.publisher(1)})
		}
		b.awaitSettled(1, each, streams...)
		for _, env := range b.recorder.of(topic) {
			if env.Partitions != n || string(env.Payload) != fmt.Sprint(env.Seq-1) {
				c.fatal(fmt.Sprintf("event %d of partition %d of %d", env.Seq-1, env.Partition, n), "event %s of partition %d of %d", env.Payload, env.Partition, env.Partitions)
			}
		}
	}
}

func testDeliverSlowSink(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.connect()
	b.recorder.slow = c.delay
	b.start()
	b.subscribe(topic)
	const n = 300
	a.publishAll(events(topic, c.publisher(1), 0, n))
	b.awaitSettled(1, n, stream{topic, 0, c.publisher(1)})
	last := uint64(0)
	for _, env := range b.recorder.of(topic) {
		if env.Seq <= last {
			c.fatal("numbers that rise", "number %d behind %d", env.Seq, last)
		}
		last = env.Seq
	}
}

func testDeliverNoFalseGap(c *check) {
	topic := c.topic(0)
	a, other := c.join(topic), c.join(topic)
	const n = 40
	var late []*peer
	for i := range n {
		a.publish(event(topic, 0, c.publisher(1), i))
		other.publish(event(topic, 0, c.publisher(2), i))
		if i%10 == 5 { // in the middle of what is published, not for the first time here
			b := c.join(topic)
			b.unsubscribe(topic)
			a.publish(event(topic, 0, c.publisher(1), n+i))
			b.subscribe(topic)
			late = append(late, b)
		}
	}
	last := event(topic, 0, c.publisher(1), 2*n)
	name := last.ID
	a.publish(last)
	for _, b := range append(late, a, other) {
		b.recorder.wait(c.waitTimeout(), func() bool {
			got := b.recorder.of(topic)
			return len(got) > 0 && got[len(got)-1].ID == name
		})
	}
	c.quiet()
	for _, b := range append(late, a, other) {
		if gaps := b.recorder.gapsOf(topic); len(gaps) > 0 {
			c.wrong("no gap", "%s", some(gaps))
		}
	}
}
