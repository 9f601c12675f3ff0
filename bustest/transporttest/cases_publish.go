package transporttest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/transport"
)

var publishCases = []Case{
	{
		Name: "publish-results", run: testPublishResults, needs: []need{ephemeral},
		Rule: "results[i] says what became of envs[i], and one that fails does not keep others from being accepted.",
	},
	{
		Name: "publish-too-large", run: testPublishTooLarge, needs: []need{ephemeral, limit},
		Rule: "ErrTooLarge: the envelope is larger than the transport carries.",
	},
	{
		Name: "publish-invalid-topic", run: testPublishInvalidTopic, needs: []need{ephemeral},
		Rule: "ErrInvalidTopic: there is no such topic or partition.",
	},
	{
		Name: "publish-slices", run: testPublishSlices, needs: []need{ephemeral},
		Rule: "The slices have equal length and belong to the caller again afterwards.",
	},
	{
		Name: "publish-ended-context", run: testPublishEndedContext, needs: []need{ephemeral},
		Rule: "A context that ends first fails what was not yet accepted, with its cause.",
	},
	{
		Name: "publish-cancelled", run: testPublishCancelled, needs: []need{ephemeral},
		Rule: "Publish returns when each was accepted or has failed; an event that fails because of its context may still arrive, once.",
	},
	{
		Name: "publish-before-serve", run: testPublishBeforeServe, needs: []need{ephemeral},
		Rule: "While no Serve runs a Publish may succeed, wait for Serve as long as its context lasts, or fail with ErrClosed.",
	},
	{
		Name: "publish-receivers", run: testPublishReceivers, needs: []need{ephemeral},
		Rule: "Receivers is how many subscribers the broker passed it to, or -1 if the transport can't tell.",
	},
	{
		Name: "publish-number", run: testPublishNumber, needs: []need{ephemeral},
		Rule: "Seq is the number with which the envelope arrives, if it was accepted; 0 if it has none.",
	},
}

func testPublishResults(c *check) {
	topic, other := c.topic(0), c.topic(0)
	a, b := c.join(), c.join(topic, other)
	wrongName := event(topic, 0, c.publisher(1), 900)
	wrongName.Topic = "no topic {at all}"
	wrongPartition := event(topic, 0, c.publisher(1), 901)
	wrongPartition.Partition = 1
	envs := []*transport.Envelope{
		event(topic, 0, c.publisher(1), 0), wrongName, event(other, 0, c.publisher(1), 1), event(topic, 0, c.publisher(1), 2),
		wrongPartition, event(topic, 0, c.publisher(1), 3), event(other, 0, c.publisher(1), 4),
	}
	bad := map[int]bool{1: true, 4: true}
	if c.features.MaxPayload > 0 && c.features.MaxPayload <= largest {
		tooLarge := event(topic, 0, c.publisher(1), 902)
		tooLarge.Payload = make([]byte, c.features.MaxPayload+1)
		bad[len(envs)] = true
		envs = append(envs, tooLarge, event(topic, 0, c.publisher(1), 5))
	}
	results := make([]transport.Result, len(envs))
	for i := range results { // what was there does not count
		results[i] = transport.Result{Receivers: 77, Err: errEnough}
	}
	ctx, cancel := c.context()
	defer cancel()
	a.Publish(ctx, nil, nil) // nothing to do is done
	var want []string
	for i, env := range envs {
		if !bad[i] && env.Topic == topic.Name {
			want = append(want, env.ID)
		}
	}
	a.Publish(ctx, envs, results)
	for i, r := range results {
		switch {
		case errors.Is(r.Err, errEnough) || r.Receivers == 77:
			c.wrong(fmt.Sprintf("a result for event %d", i), "what was there before")
		case bad[i] && r.Err == nil:
			c.wrong(fmt.Sprintf("an error for event %d, which is invalid", i), "none")
		case !bad[i] && r.Err != nil:
			c.wrong(fmt.Sprintf("event %d to be accepted, which is valid", i), "%s", show(r.Err))
		}
	}
	b.awaitCount(other, 2)
	if got := ids(b.awaitCount(topic, len(want))); strings.Join(got, " ") != strings.Join(want, " ") {
		c.wrong("the valid ones of the batch, in its order: "+some(want), "%s", some(got))
	}
}

func testPublishTooLarge(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	ctx, cancel := c.context()
	defer cancel()
	env := event(topic, 0, c.publisher(1), 0)
	env.Payload = make([]byte, c.features.MaxPayload+1)
	err := a.try(ctx, env)[0].Err
	c.fails(err, transport.ErrTooLarge, "a payload of one byte more than MaxPayload")
	if err != nil && !strings.Contains(err.Error(), topic.Name) {
		c.wrong("an error that names the topic", "%q", err)
	}
	a.publish(event(topic, 0, c.publisher(1), 1))
	b.awaitCount(topic, 1)
	c.quiet()
	if got := b.recorder.of(topic); len(got) != 1 || got[0].Seq != 1 {
		c.wrong("the event behind it alone, with number 1", "%s", some(ids(got)))
	}
}

func testPublishInvalidTopic(c *check) {
	p := c.join()
	ctx, cancel := c.context()
	defer cancel()
	topic := c.topic(0)
	for _, name := range []string{"", "a b", "a{b}", "a*", "ä", "a\x00", "a\nb", strings.Repeat("x", transport.MaxName+1)} {
		env := event(transport.Topic{Name: name}, 0, c.publisher(1), 0)
		err := p.try(ctx, env)[0].Err
		c.fails(err, transport.ErrInvalidTopic, fmt.Sprintf("Publish to %.20q", name))
		if err != nil && name != "" && len(name) < transport.MaxName && !strings.Contains(err.Error(), strconv.Quote(name)) {
			c.wrong("an error that names the topic", "%q", err)
		}
		c.fails(p.Subscribe(ctx, transport.Topic{Name: name}), transport.ErrInvalidTopic, fmt.Sprintf("Subscribe to %.20q", name))
	}
	for _, tc := range []struct{ partitions, partition int }{
		{0, 1}, {0, -1}, {1, 1}, {3, 3}, {3, -1}, {-1, 0}, {transport.MaxPartitions + 1, 0},
	} {
		env := event(topic, tc.partition, c.publisher(1), 0)
		env.Partitions = tc.partitions
		c.fails(p.try(ctx, env)[0].Err, transport.ErrInvalidTopic, fmt.Sprintf("Publish to partition %d of %d", tc.partition, tc.partitions))
	}
	for _, n := range []int{-1, transport.MaxPartitions + 1} {
		c.fails(p.Subscribe(ctx, transport.Topic{Name: topic.Name, Partitions: n}), transport.ErrInvalidTopic, fmt.Sprintf("Subscribe to a topic of %d partitions", n))
	}
}

func testPublishSlices(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	ctx, cancel := c.context()
	defer cancel()
	const rounds, size = 30, 5
	var slices [2][size]*transport.Envelope
	results := make([]transport.Result, size)
	var want []string
	for round := range rounds {
		envs := slices[round%2][:]
		copy(envs, events(topic, c.publisher(1), round*size, round*size+size))
		want = append(want, ids(envs)...)
		a.Publish(ctx, envs, results)
		for i, r := range results {
			if r.Err != nil {
				c.fatal("Publish succeeds", "%s", show(r.Err))
			}
			// Now they are ours: what the transport reads of them later is wrong.
			envs[i] = event(topic, 0, c.publisher(9), 0)
			results[i] = transport.Result{Receivers: -7, Err: errEnough}
		}
		c.pause()
		for i, r := range results {
			if r.Receivers != -7 || !errors.Is(r.Err, errEnough) {
				c.fatal("results that are left alone after Publish returned", "result %d is written later: %+v", i, r)
			}
		}
	}
	got := ids(b.awaitCount(topic, len(want)))
	if strings.Join(got, " ") != strings.Join(want, " ") {
		c.wrong("what was in the slices when Publish was called: "+some(want), "%s", some(got))
	}
}

func testPublishEndedContext(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	var results []transport.Result
	c.inTime(grace, "Publish with a context that has ended", func() {
		results = a.try(c.ended(), events(topic, c.publisher(1), 0, 3)...)
	})
	for _, r := range results {
		c.fails(r.Err, errEnough, "Publish with a context that has ended")
	}
	a.publish(event(topic, 0, c.publisher(2), 0)) // the transport goes on
	b.awaitCount(topic, 1)
}

func testPublishCancelled(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	const n, size = 200, 4
	accepted := make(map[string]bool)
	for round := range n {
		ctx, cancel := context.WithCancelCause(c.base)
		over := make(chan struct{})
		go func() { // ends at once
			defer close(over)
			for range round % 20 {
				runtime.Gosched()
			}
			cancel(errEnough)
		}()
		if round%4 == 0 {
			<-over // it has ended before
		}
		envs := events(topic, c.publisher(1), round*size, round*size+size)
		names := ids(envs)
		results := a.try(ctx, envs...)
		<-over
		for i, r := range results {
			if r.Err == nil {
				accepted[names[i]] = true
			} else {
				c.fails(r.Err, errEnough, "Publish with a context that ends")
			}
			results[i], envs[i] = transport.Result{}, nil // ours again, for the race detector
		}
	}
	last := event(topic, 0, c.publisher(1), n*size)
	name := last.ID
	a.publish(last)
	arrived := func() map[string]int {
		count := make(map[string]int)
		for _, id := range ids(b.recorder.of(topic)) {
			count[id]++
		}
		return count
	}
	b.recorder.wait(c.waitTimeout(), func() bool { return arrived()[name] > 0 })
	got := arrived()
	for id := range accepted {
		if got[id] == 0 {
			c.wrong("every accepted event arrives", "%s does not", id)
		}
	}
	for id, times := range got {
		if times > 1 {
			c.wrong("no event twice", "%s arrives %d times", id, times)
		}
	}
}

func testPublishBeforeServe(c *check) {
	topic := c.topic(0)
	b := c.join(topic)
	a := c.connect()
	allowed := func(err error, when string) {
		if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, transport.ErrClosed) {
			c.wrong("success, the context's end, or ErrClosed "+when, "%s", show(err))
		}
	}
	without := func(n int, when string) {
		ctx, cancel := c.brief()
		defer cancel()
		c.inTime(grace, "Publish "+when, func() { allowed(a.try(ctx, event(topic, 0, c.publisher(1), n))[0].Err, when) })
	}
	without(0, "before Serve")

	waits := make(chan error, 1)
	ctx, cancel := c.context()
	defer cancel()
	env := event(topic, 0, c.publisher(1), 1)
	go func() { waits <- a.try(ctx, env)[0].Err }() // ends with its context
	c.quiet()
	a.start()
	c.inTime(c.waitTimeout(), "Publish beside a Serve that begins", func() { allowed(<-waits, "while Serve begins") })
	a.subscribe(c.topic(0)) // so Serve runs
	a.publish(event(topic, 0, c.publisher(2), 0))
	if !b.recorder.wait(c.waitTimeout(), func() bool { return strings.Contains(strings.Join(ids(b.recorder.of(topic)), " "), c.publisher(2)) }) {
		c.wrong("what is published once Serve runs arrives", "%s", some(ids(b.recorder.of(topic))))
	}
	a.stop()
	without(2, "after Serve")
}

func testPublishReceivers(c *check) {
	topic := c.topic(0)
	a := c.join()
	if r := a.publish(event(topic, 0, c.publisher(1), 0))[0]; r.Receivers != 0 && r.Receivers != -1 {
		c.wrong("0 or -1 where nobody is subscribed", "%d", r.Receivers)
	}
	for n := 1; n <= 3; n++ {
		c.join(topic)
		if r := a.publish(event(topic, 0, c.publisher(1), n))[0]; r.Receivers < -1 || r.Receivers > n {
			c.wrong(fmt.Sprintf("at most %d, or -1, where as many are subscribed", n), "%d", r.Receivers)
		}
	}
}

func testPublishNumber(c *check) {
	topics := []transport.Topic{c.topic(0)}
	if c.features.Partitions > 1 {
		topics = append(topics, c.topic(2))
	}
	a, b := c.join(), c.join(topics...)
	for _, topic := range topics {
		said := make(map[string]uint64)
		for _, publisher := range []string{c.publisher(1), c.publisher(2)} {
			for n := range 6 {
				env := event(topic, n%max(1, topic.Partitions), publisher, n)
				twin := *env
				twin.ID += "-twin"
				names := ids([]*transport.Envelope{env, &twin})
				for i, r := range a.publish(env, &twin) {
					said[names[i]] = r.Seq
				}
			}
		}
		for _, env := range b.awaitCount(topic, len(said)) {
			if said[env.ID] != env.Seq {
				c.wrong(fmt.Sprintf("the result of %s to have the number %d, with which it arrived", env.ID, env.Seq), "%d", said[env.ID])
			}
		}
	}
	bare := &transport.Envelope{Topic: topics[0].Name, Partitions: topics[0].Partitions, Payload: []byte("1")}
	if r := a.publish(bare)[0]; r.Seq != 0 {
		c.wrong("no number for a bare payload, which has none", "%d", r.Seq)
	}
}
