package transporttest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var faultCases = []Case{
	{
		Name: "fault-gap", run: testFaultGap, needs: []need{ephemeral, sever},
		Rule: "Everything accepted arrives once or is reported in one Gap, if its publisher was heard of and lives. Lost events were accepted by the broker and are gone.",
	},
	{
		Name: "fault-gap-fields", run: testFaultGapFields, needs: []need{ephemeral, sever},
		Rule: "From and To are the first and last missing sequence number, both included. Count is how many events are missing. Since is when the first of them was noticed.",
	},
	{
		Name: "fault-tail", run: testFaultTail, needs: []need{ephemeral, sever},
		Rule: "Everything accepted arrives once or is reported in one Gap, also an event that no other follows.",
	},
	{
		Name: "fault-uncertain", run: testFaultUncertain, needs: []need{ephemeral, sever},
		Rule: "Uncertain events may never have been accepted: their Publish returned an error, or nobody can tell. Perhaps neither Deliver nor Gap reports what was never accepted.",
	},
	{
		Name: "fault-contexts", run: testFaultContexts, needs: []need{ephemeral, sever},
		Rule: "A context that has ended fails a call with its cause, whatever state the broker is in.",
	},
	{
		Name: "fault-serve-ends", run: testFaultServeEnds, needs: []need{ephemeral, sever},
		Rule: "Serve returns when its context ends. That takes less than a bus's grace, of 5 s, whatever state the broker is in.",
	},
	{
		Name: "fault-live-again", run: testFaultLiveAgain, needs: []need{ephemeral, sever},
		Rule: "What was subscribed becomes live again by itself.",
	},
}

// sever cuts a peer off, and mends what the case leaves cut.
func (p *peer) sever() (mend func()) {
	mended := false
	cut := p.c.broker.Sever(p.c.TB, p.Transport)
	mend = func() {
		if !mended {
			mended = true
			cut()
		}
	}
	p.c.Cleanup(mend)
	return mend
}

// reach publishes until events of a and b arrive at each other again.
func reach(a, b *peer, topic transport.Topic, publisher string, from int) (next int) {
	a.c.Helper()
	for n := from; n < from+100; n++ {
		env := event(topic, 0, publisher, n)
		id := env.ID
		a.publish(env)
		if b.recorder.wait(a.c.waitTimeout()/100, func() bool {
			for _, got := range b.recorder.of(topic) {
				if got.ID == id {
					return true
				}
			}
			return false
		}) {
			return n + 1
		}
	}
	a.c.fatal("events arrive again", "none of 100 within %v", a.c.waitTimeout())
	return 0
}

func testFaultGap(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	next := reach(a, b, topic, c.publisher(1), 0)
	for range 3 {
		mend := b.sever()
		a.publishAll(events(topic, c.publisher(1), next, next+25))
		mend()
		next = reach(a, b, topic, c.publisher(1), next+25)
	}
	b.awaitSettled(1, uint64(next), stream{topic, 0, c.publisher(1)})
	b.kinds(stream{topic, 0, c.publisher(1)}, transport.Lost)
	last := uint64(0)
	for _, env := range b.recorder.of(topic) {
		if env.Seq <= last {
			c.fatal("numbers that rise", "number %d behind %d", env.Seq, last)
		}
		last = env.Seq
	}
}

func testFaultGapFields(c *check) {
	n := min(c.features.Partitions, 3)
	topic := c.topic(n)
	a, b := c.join(), c.join(topic)
	began := time.Now()
	const each = 7
	publish := func(from int) {
		for p := range max(1, n) {
			for i := range each {
				a.publish(event(topic, p, c.publisher(1), from+i), event(topic, p, c.publisher(2), from+i))
			}
		}
	}
	settle := func(count uint64) {
		var streams []stream
		for p := range max(1, n) {
			streams = append(streams, stream{topic, p, c.publisher(1)}, stream{topic, p, c.publisher(2)})
		}
		b.awaitSettled(1, count, streams...)
	}
	publish(0)
	settle(each)
	mend := b.sever()
	publish(each)
	mend()
	publish(2 * each)
	settle(3 * each)
	for _, g := range b.recorder.gapsOf(topic) {
		switch {
		case g.Count != g.To-g.From+1:
			c.wrong(fmt.Sprintf("a Count of %d from %d to %d", g.To-g.From+1, g.From, g.To), "%d", g.Count)
		case g.Partition < 0 || g.Partition >= max(1, n) || g.Publisher != c.publisher(1) && g.Publisher != c.publisher(2):
			c.wrong("a gap of a partition and publisher that there is", "%+v", g)
		case g.Since.Before(began) || g.Since.After(time.Now()):
			c.wrong(fmt.Sprintf("Since within the case, which began at %v", began), "%v", g.Since)
		}
	}
}

func testFaultTail(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	next := reach(a, b, topic, c.publisher(1), 0)
	mend := b.sever()
	a.publishAll(events(topic, c.publisher(1), next, next+5))
	mend()
	b.awaitSettled(1, uint64(next+5), stream{topic, 0, c.publisher(1)})
}

func testFaultUncertain(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	next := reach(a, b, topic, c.publisher(1), 0)
	accepted := make(map[string]bool)
	mend := a.sever()
	for range 3 {
		ctx, cancel := c.brief()
		envs := events(topic, c.publisher(1), next, next+5)
		names := ids(envs)
		next += 5
		c.inTime(grace, "Publish whose context ends while it is cut off", func() {
			for i, r := range a.try(ctx, envs...) {
				accepted[names[i]] = r.Err == nil
				if r.Err != nil {
					c.fails(r.Err, errEnough, "Publish whose context ends while it is cut off")
				}
			}
		})
		cancel()
	}
	mend()
	reach(a, b, topic, c.publisher(1), next)
	c.quiet()
	of := stream{topic, 0, c.publisher(1)}
	told := b.recorder.seqAudit(of)
	for n, times := range told.received { // what was never accepted may be told of by neither
		if times+told.missing[n] > 1 {
			c.wrong("each number once at most", "number %d is received %d times and in %d gaps", n, times, told.missing[n])
		}
	}
	seen := make(map[string]bool)
	for _, id := range ids(b.recorder.of(topic)) {
		if seen[id] {
			c.wrong("no event twice", "%s is received again", id)
		}
		seen[id] = true
	}
	for id, ok := range accepted {
		if ok {
			c.wrong("an error for what a transport publishes while it is cut off", "%s was accepted", id)
		}
	}
	b.kinds(of, transport.Uncertain)
}

func testFaultContexts(c *check) {
	topic, other := c.topic(0), c.topic(0)
	p := c.join(topic)
	mend := p.sever()
	for what, call := range map[string]func() error{
		"Publish": func() error {
			ctx, cancel := c.brief()
			defer cancel()
			return p.try(ctx, event(topic, 0, c.publisher(1), 0))[0].Err
		},
		"Subscribe": func() error {
			ctx, cancel := c.brief()
			defer cancel()
			return p.Subscribe(ctx, other)
		},
		"Unsubscribe": func() error {
			ctx, cancel := c.brief()
			defer cancel()
			if err := p.Unsubscribe(ctx, topic); err != nil {
				return err
			}
			return errEnough // it may well succeed
		},
	} {
		c.inTime(grace, what+" while cut off", func() { c.fails(call(), errEnough, what+" whose context ends while it is cut off") })
	}
	mend()
	a := c.join()
	p.subscribe(other, topic)
	reach(a, p, other, c.publisher(2), 0)
	reach(a, p, topic, c.publisher(2), 0)
}

func testFaultServeEnds(c *check) {
	topic := c.topic(0)
	a, p := c.join(), c.join(topic)
	reach(p, p, topic, c.publisher(1), 0)
	mend := p.sever()
	waits := make(chan []transport.Result, 1)
	ctx, cancel := c.context()
	defer cancel()
	go func() { waits <- p.try(ctx, event(topic, 0, c.publisher(1), 100)) }() // ends with Serve or its context
	c.quiet()
	p.stop()
	cancel()
	c.inTime(grace, "Publish", func() { <-waits })
	mend()
	p.start()
	p.subscribe(topic)
	reach(a, p, topic, c.publisher(2), 0)
}

func testFaultLiveAgain(c *check) {
	topics := []transport.Topic{c.topic(0), c.topic(0), c.topic(0), c.topic(0)}
	a, b := c.join(), c.join(topics...)
	for round := range 3 {
		mend := b.sever()
		left := topics[round]
		b.unsubscribe(left) // in the middle
		mend()
		for _, topic := range topics[round+1:] {
			reach(a, b, topic, c.publisher(round), 0)
		}
		for _, topic := range topics[round+1:] { // each from its own publisher
			reach(b, b, topic, c.publisher(round+10), 0)
		}
		before := b.recorder.count(left)
		a.publish(event(left, 0, c.publisher(round), 1000))
		c.quiet()
		if n := b.recorder.count(left) - before; n > 0 {
			c.fatal("nothing of the topic that was unsubscribed while cut off", "%s", plural(n))
		}
	}
}
