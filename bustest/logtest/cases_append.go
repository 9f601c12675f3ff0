package logtest

import (
	"fmt"
	"sync"

	"github.com/shardbus/shardbus/transport"
)

var appendCases = []Case{
	{
		Name: "append-durable", run: testAppendDurable,
		Rule: "Append returns when all that it took is durable.",
	},
	{
		Name: "append-whole", run: testAppendWhole,
		Rule: "A batch is taken whole or not at all, in order, and what it adds gets consecutive offsets.",
	},
	{
		Name: "append-each", run: testAppendEach,
		Rule: "Each batch of a call succeeds or fails by itself.",
	},
	{
		Name: "append-slices", run: testAppendSlices,
		Rule: "The slices belong to the caller again afterwards.",
	},
	{
		Name: "append-envelope", run: testAppendEnvelope,
		Rule: "An event is read as it was appended: every byte of every string.",
	},
	{
		Name: "append-place", run: testAppendPlace,
		Rule: "An event that was acknowledged has its place in the order of its partition from then on, and nothing is put before it.",
	},
	{
		Name: "append-too-large", run: testAppendTooLarge, needs: []need{limit},
		Rule: "MaxPayload is the largest payload in bytes.",
	},
	{
		Name: "append-fails", run: testAppendFails, needs: []need{failing},
		Rule: "After a step that could not be made durable nothing is acknowledged until the log was opened again.",
	},
	{
		Name: "append-garbled", run: testAppendGarbled, needs: []need{garble},
		Rule: "An Envelope that can't be read is Malformed.",
	},
}

func testAppendDurable(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	for n := range 5 {
		p.append(t, events(2*n, 2*n+2)...)
		p = p.restart()
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the events after restarts", payloads(m.fetch(l, 0)), payloadsOf(events(0, 10)))
}

func payloadsOf(envs []*transport.Envelope) []string {
	texts := make([]string, 0, len(envs))
	for _, env := range envs {
		texts = append(texts, string(env.Payload))
	}
	return texts
}

func testAppendWhole(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	const publishers, batches, size = 8, 20, 5
	firsts := make(map[string]uint64)
	var mu sync.Mutex
	var running sync.WaitGroup
	for n := range publishers {
		running.Go(func() {
			for b := range batches {
				envs := make([]*transport.Envelope, size)
				for i := range envs {
					envs[i] = event(fmt.Sprintf("%d/%d/%d", n, b, i))
				}
				r := p.try(transport.Batch{Topic: t.Name, Envelopes: envs})
				if r.Err != nil {
					c.wrong("Append succeeds", "%s", show(r.Err))
					return
				}
				mu.Lock()
				firsts[fmt.Sprintf("%d/%d", n, b)] = r.First
				mu.Unlock()
			}
		})
	}
	running.Wait()
	m := p.consume(t, windowed(4096))
	l, _ := m.lease(0)
	entries := m.fetch(l, 0)
	c.same("the offsets", offsets(entries), span(1, publishers*batches*size))
	for batch, first := range firsts {
		for i := range size {
			if got := string(entries[first-1+uint64(i)].Envelope.Payload); got != fmt.Sprintf("%s/%d", batch, i) {
				c.fatal(fmt.Sprintf("event %d of batch %s at offset %d", i, batch, first+uint64(i)), "%s", got)
			}
		}
	}
}

func testAppendEach(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	batches := []transport.Batch{
		{Topic: t.Name, Envelopes: events(0, 2)},
		{Topic: "conformance.none", Envelopes: events(2, 3)},
		{Topic: t.Name, Partition: 4000, Envelopes: events(3, 4)},
		{Topic: t.Name},
		{Topic: t.Name, Envelopes: events(4, 5), UserID: []bool{true, false}},
		{Topic: t.Name, Publisher: transport.PublisherState{ID: "p", Seq: 9}, Envelopes: events(5, 6)},
		{Topic: t.Name, Envelopes: events(2, 4)},
	}
	results := make([]transport.AppendResult, len(batches))
	p.Append(c.base, batches, results)
	c.same("the first result", results[0], transport.AppendResult{First: 1})
	c.fails(results[1].Err, transport.ErrNoSuchTopic, "a batch to a topic that was not opened")
	c.fails(results[2].Err, transport.ErrInvalidTopic, "a batch to a partition that is not there")
	c.fails(results[3].Err, transport.ErrInvalidBatch, "a batch without events")
	c.fails(results[4].Err, transport.ErrInvalidBatch, "a batch with more UserID than events")
	c.fails(results[5].Err, transport.ErrOutOfSequence, "a batch with the number 9")
	c.same("the last result", results[6], transport.AppendResult{First: 3})
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the events", payloads(m.fetch(l, 0)), payloadsOf(events(0, 4)))
}

func testAppendSlices(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	batches, results := make([]transport.Batch, 1), make([]transport.AppendResult, 1)
	envs, byUser := make([]*transport.Envelope, 2), make([]bool, 2)
	for n := range 10 {
		copy(envs, events(2*n, 2*n+2))
		batches[0] = transport.Batch{Topic: t.Name, Envelopes: envs, UserID: byUser}
		p.Append(c.base, batches, results)
		c.same("the result", results[0], transport.AppendResult{First: uint64(2*n + 1)})
		results[0] = transport.AppendResult{First: 99}
		batches[0] = transport.Batch{}
		envs[0], envs[1] = event("x"), nil
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the events", payloads(m.fetch(l, 0)), payloadsOf(events(0, 20)))
}

func testAppendEnvelope(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	odd := "\x00\xff é\r\n"
	env := event("")
	env.Publisher, env.ID, env.Key, env.Headers = "p"+odd, "i"+odd, odd, transport.HeadersFromMap(map[string]string{odd: odd, "": "", ":type": "x"})
	env.ContentType, env.TypeName, env.Payload = "text/"+odd, "T"+odd, []byte(odd)
	want := *env
	want.Topic, want.Partitions, want.Partition, want.Seq = t.Name, t.Partitions, 0, 0
	p.append(t, env, &transport.Envelope{Publisher: "p", ID: "2", Topic: "other", Partition: 7, Partitions: 9, Seq: 99})
	p = p.restart()
	m := p.consume(t)
	l, _ := m.lease(0)
	entries := m.fetch(l, 0)
	got := *entries[0].Envelope
	if !got.Time.Equal(want.Time) {
		c.wrong(fmt.Sprintf("the time %v", want.Time), "%v", got.Time)
	}
	got.Time = want.Time
	c.same("the event", got, want)
	bare := entries[1].Envelope
	c.same("where an event says that it is", []any{bare.Topic, bare.Partitions, bare.Partition, bare.Seq, len(bare.Payload), bare.Headers.Len(), bare.Time.IsZero()},
		[]any{t.Name, t.Partitions, 0, 0, 0, 0, true})
	for _, e := range entries {
		if e.At.IsZero() {
			c.wrong("the time when the log took it", "none")
		}
	}
}

func testAppendPlace(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t, windowed(4096))
	l, _ := m.lease(0)
	for n := range 4 {
		c.beside(func(running func() bool) {
			for i := 0; i < 50 && running(); i++ {
				p.try(transport.Batch{Topic: t.Name, Envelopes: []*transport.Envelope{event(fmt.Sprintf("%d/%d", n, i))}})
			}
		})
	}
	var seen []transport.Entry
	for len(seen) < 200 {
		var after uint64
		if len(seen) > 0 {
			after = seen[len(seen)-1].Offset
		}
		wakes := m.sink.of(l).wakes
		more := m.fetch(l, after)
		seen = append(seen, more...)
		if more == nil {
			m.await("a wake for more events", func() bool { return m.sink.of(l).wakes > wakes })
		}
	}
	c.same("the offsets as they were read meanwhile", offsets(seen), span(1, 200))
	c.same("the events, read again", payloads(m.fetch(l, 0)), payloads(seen))
	var wants [4]int // of each publisher the next event: each was acknowledged before the next was appended
	for _, text := range payloads(seen) {
		var n, i int
		if _, err := fmt.Sscanf(text, "%d/%d", &n, &i); err != nil || n < 0 || n >= len(wants) {
			c.wrong("an event that was appended", "%q", text)
			return
		}
		c.same(fmt.Sprint("the next event of publisher ", n), i, wants[n])
		wants[n]++
	}
}

func testAppendTooLarge(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	c.same("the limit", p.LogCapabilities().MaxPayload, c.features.MaxPayload)
	env := event("large")
	env.Payload = make([]byte, c.features.MaxPayload+1)
	c.fails(p.try(transport.Batch{Topic: t.Name, Envelopes: []*transport.Envelope{event("a"), env}}).Err, transport.ErrTooLarge, "a batch with a payload beyond MaxPayload")
	env = event("largest")
	env.Payload = make([]byte, c.features.MaxPayload)
	c.same("the offset of the largest", p.append(t, env).First, 1)
}

func testAppendFails(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 2)...)
	c.store.Fail(c.TB, p.Log)
	for n := range 3 {
		c.fails(p.try(transport.Batch{Topic: t.Name, Envelopes: events(2+n, 3+n)}).Err, transport.ErrLogFailed, "an Append after a failure")
	}
	p = p.restart()
	c.same("the next offset", p.append(t, events(9, 10)...).First, p.state(t).Next-1)
	m := p.consume(t)
	l, _ := m.lease(0)
	got := payloads(m.fetch(l, 0))
	c.same("what was acknowledged", append(got[:2:2], got[len(got)-1]), []string{"0", "1", "9"})
}

func testAppendGarbled(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 3)...)
	p.close()
	c.store.Garble(c.TB, t.Name, 0, 2)
	p = c.open()
	m := p.consume(t)
	l, _ := m.lease(0)
	entries := m.fetch(l, 0)
	c.same("the offsets", offsets(entries), span(1, 3))
	for i, e := range entries {
		if i != 1 {
			c.same("an error of another event", e.Envelope.Malformed, error(nil))
			continue
		}
		c.fails(e.Envelope.Malformed, transport.ErrMalformed, "reading a damaged event")
		if len(e.Envelope.Payload) == 0 {
			c.wrong("the raw bytes as its payload", "nothing")
		}
	}
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 2, Envelope: entries[1].Envelope}}})
	letters := p.letters(t, "c")
	c.same("the letters", len(letters), 1)
	c.fails(letters[0].Envelope.Malformed, transport.ErrMalformed, "reading the letter of a damaged event")
}
