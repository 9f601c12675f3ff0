package logtest

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var publisherCases = []Case{
	{
		Name: "publisher-next", run: testPublisherNext,
		Rule: "A batch that begins with the number after the last is taken, and its events get its numbers.",
	},
	{
		Name: "publisher-repeats", run: testPublisherRepeats,
		Rule: "A batch that ends at or before the last number is a repetition, and adds nothing. The result is as it was the first time if this is the publisher's last batch; otherwise it is zero.",
	},
	{
		Name: "publisher-skips", run: testPublisherSkips,
		Rule: "Any other batch fails with ErrOutOfSequence.",
	},
	{
		Name: "publisher-epoch", run: testPublisherEpoch,
		Rule: "A higher epoch begins at 1, and batches of lower ones then fail with ErrStalePublisher.",
	},
	{
		Name: "publisher-unknown", run: testPublisherUnknown,
		Rule: "A publisher that the partition does not know begins at 1 in any epoch.",
	},
	{
		Name: "publisher-idle", run: testPublisherIdle, needs: []need{bubble},
		Rule: "A log forgets a publisher that has appended nothing for PublisherIdle, and not before.",
	},
	{
		Name: "publisher-none", run: testPublisherNone,
		Rule: "The zero value leaves a batch without numbers, so that nobody recognises a repetition.",
	},
}

// numbered is a batch of a publisher.
func numbered(t transport.LogTopic, epoch uint32, seq uint64, n int) transport.Batch {
	return transport.Batch{Topic: t.Name, Publisher: transport.PublisherState{ID: "p", Epoch: epoch, Seq: seq}, Envelopes: events(int(seq), int(seq)+n)}
}

func testPublisherNext(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	p.topic(t)
	for _, b := range []struct {
		seq uint64
		n   int
	}{{1, 3}, {4, 1}, {5, 2}} {
		c.same("the result", p.try(numbered(t, 0, b.seq, b.n)), transport.AppendResult{First: b.seq})
		p = p.restart()
	}
	if t.Partitions > 1 { // which has numbers of its own
		other := numbered(t, 0, 1, 2)
		other.Partition = 1
		c.same("the result of another partition", p.try(other), transport.AppendResult{First: 1})
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	for _, e := range m.fetch(l, 0) {
		c.same("the number of the event at an offset", e.Envelope.Seq, e.Offset)
	}
}

func testPublisherRepeats(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(100, 103)...)
	p.try(numbered(t, 0, 1, 3))
	due := time.Now().Add(24 * time.Hour)
	last := func() transport.Batch {
		b := numbered(t, 0, 4, 3)
		b.Due, b.UserID = []time.Time{{}, due, {}}, []bool{true, true, true}
		b.Envelopes[2].ID = "4"
		return b
	}
	t.DedupIDs = time.Hour
	p.topic(t)
	first := p.try(last())
	c.same("the first result", first, transport.AppendResult{First: 7, Waiting: []int{1}, Duplicate: []transport.Duplicate{{Index: 2, Offset: 7}}})
	again := first
	again.Repeated = true
	for range 2 {
		c.same("the result of a repetition", p.try(last()), again)
		p = p.restart()
		c.same("the result of an older one", p.try(numbered(t, 0, 1, 3)), transport.AppendResult{Repeated: true})
	}
	c.same("the next offset", p.state(t).Next, 8)
	c.same("the result of the next", p.try(numbered(t, 0, 7, 1)), transport.AppendResult{First: 8})
}

func testPublisherSkips(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.try(numbered(t, 0, 1, 3))
	for _, b := range []transport.Batch{numbered(t, 0, 5, 1), numbered(t, 0, 3, 2), numbered(t, 0, 0, 1), numbered(t, 1, 4, 1)} {
		c.fails(p.try(b).Err, transport.ErrOutOfSequence, fmt.Sprintf("a batch with %+v after 3", b.Publisher))
	}
	c.same("the next offset", p.state(t).Next, 4)
	c.same("the result of the right one", p.try(numbered(t, 0, 4, 1)), transport.AppendResult{First: 4})
}

func testPublisherEpoch(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.try(numbered(t, 3, 1, 3))
	c.same("the result of a higher epoch", p.try(numbered(t, 4, 1, 2)), transport.AppendResult{First: 4})
	for range 2 {
		c.fails(p.try(numbered(t, 3, 4, 1)).Err, transport.ErrStalePublisher, "a batch of a lower epoch")
		c.fails(p.try(numbered(t, 3, 1, 3)).Err, transport.ErrStalePublisher, "a repetition of a lower epoch")
		p = p.restart()
	}
	c.same("the result of the epoch's next", p.try(numbered(t, 4, 3, 1)), transport.AppendResult{First: 6})
}

func testPublisherUnknown(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	c.fails(p.try(numbered(t, 7, 2, 1)).Err, transport.ErrOutOfSequence, "an unknown publisher's batch with number 2")
	c.same("the result of number 1", p.try(numbered(t, 7, 1, 1)), transport.AppendResult{First: 1})
}

func testPublisherIdle(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.try(numbered(t, 5, 1, 3))
	time.Sleep(transport.PublisherIdle - time.Second)
	c.same("the result after nearly an hour", p.try(numbered(t, 5, 4, 1)).First, 4)
	p = p.restart()
	time.Sleep(transport.PublisherIdle + time.Second)
	if err := p.try(numbered(t, 5, 5, 1)).Err; !errors.Is(err, transport.ErrOutOfSequence) {
		c.wrong("a publisher that was idle for an hour is not known", "%s", show(err))
	}
	c.same("the result of a lower epoch then", p.try(numbered(t, 2, 1, 1)).First, 5)
}

func testPublisherNone(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	for n := range 2 {
		c.same("the result", p.append(t, events(0, 2)...), transport.AppendResult{First: uint64(2*n + 1)})
	}
	m := p.consume(t)
	l, _ := m.lease(0)
	for _, e := range m.fetch(l, 0) {
		c.same("the number of an event", e.Envelope.Seq, 0)
	}
}
