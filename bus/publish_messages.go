package bus

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// Outgoing is an event to publish, with what is its own.
type Outgoing[T any] struct {
	Value T
	// ID is the event's, as of the option [ID]. Empty: the bus makes one.
	ID string
	// Headers are the event's, in addition to those that options give.
	Headers Headers
	// Time is when the event happened. Zero: when it is published; in process that is not stamped
	// unless TopicConfig.Stamp is set.
	Time time.Time
	// At is when an event of a durable topic is due, as of the option [At]. Zero: as options say.
	At time.Time
}

// PublishMessages is PublishBatch for events that have an ID, headers or a time of their own, as rows
// of a transactional outbox have. Options apply to every event; a header, an ID or an At of the
// event's own replaces theirs. Its errors are those of PublishBatch. msgs belongs to the caller again when it
// returns.
func (t *Topic[T]) PublishMessages(ctx context.Context, msgs []Outgoing[T], opts ...PublishOption) error {
	if len(msgs) == 0 {
		return nil
	}
	p := t.publication(len(msgs), opts)
	for i := range msgs {
		m, e := &msgs[i], &p.events[i]
		e.value, e.at = &m.Value, m.Time
		if m.ID != "" {
			e.id = m.ID
		}
		if !m.At.IsZero() {
			if e.due = m.At; !t.info.durable {
				p.Refuse(i, t.needsDurable(&publishOptions{durable: "Outgoing.At"}))
			}
		}
		for name, value := range m.Headers.All() {
			e.headers = e.headers.With(name, value)
		}
	}
	return p.batchError(t.publishAll(ctx, p))
}

// batchError is err as that of a batch, also where that has one event.
func (p *Publication) batchError(err error) error {
	if len(p.events) > 1 || p.events[0].err == nil {
		return err
	}
	return &BatchError{Topic: p.info.name, Total: 1, Failed: []IndexedError{{Index: 0, Err: err}}}
}

// publication makes a publication of n events, whose values are the caller's to fill in.
func (t *Topic[T]) publication(n int, opts []PublishOption) *Publication {
	o := newPublishOptions(opts)
	p := &Publication{info: t.info, receipt: o.receipt, busClosed: t.bus.closed, publish: t.enterPublication}
	if t.chain != nil {
		p.topicClosed = t.chain.closed
	}
	switch {
	case t.info.durable:
		p.publish = t.appendPublication
	case t.info.remote:
		p.publish = t.sendPublication
	}
	if p.events = p.one[:]; n > 1 {
		p.events = make([]publicationEvent, n)
	}
	for i := range p.events {
		p.events[i].id, p.events[i].headers, p.events[i].due = o.id, o.headers, o.due
	}
	switch {
	case o.durable != "" && !t.info.durable:
		p.invalid = t.needsDurable(&o)
	case o.within.given:
		t.publishWithin(p, &o)
	}
	return p
}

// publishAll publishes p, through the topic's chain if it has one.
func (t *Topic[T]) publishAll(ctx context.Context, p *Publication) error {
	defer p.sign()
	if p.invalid != nil {
		return p.fail(p.invalid)
	}
	if t.chain == nil {
		return publishNext(ctx, p)
	}
	return p.run(ctx, t.chain.handler)
}

// publishOne is Publish for a topic with a chain.
func (t *Topic[T]) publishOne(ctx context.Context, event T, opts []PublishOption) error {
	p := t.publication(1, opts)
	p.events[0].value = &event
	return t.publishAll(ctx, p)
}

// publishEach is PublishBatch through a chain or a transport.
func (t *Topic[T]) publishEach(ctx context.Context, events []T, opts []PublishOption) error {
	if len(events) == 0 {
		return nil
	}
	p := t.publication(len(events), opts)
	for i := range events {
		p.events[i].value = &events[i]
	}
	return p.batchError(t.publishAll(ctx, p))
}

// enterPublication publishes events of p in process, one after another. When a wait for room is given
// up, those behind fail with it.
func (t *Topic[T]) enterPublication(ctx context.Context, p *Publication, pending []int) {
	for n, i := range pending {
		e := &p.events[i]
		c := cell[T]{v: *e.value.(*T)}
		c.env, c.headers = localEnvelope(e.id), e.headers
		switch {
		case !e.at.IsZero():
			c.at = e.at.UnixNano()
		case t.fanout.stamp:
			c.at = time.Now().UnixNano()
		}
		var receipt Receipt
		e.err = t.fanout.publish(ctx, &c, keyInfo{}, nil, &receipt)
		e.published, e.receivers = e.err == nil, receipt.Receivers
		if e.err != nil && !errguard.Is(e.err, ErrMailboxFull) {
			for _, j := range pending[n+1:] {
				p.events[j].err = e.err
			}
			return
		}
	}
}

// sendPublication publishes events of p through the transport, in one call. Those that can't be
// encoded don't hold up the rest.
func (t *Topic[T]) sendPublication(ctx context.Context, p *Publication, pending []int) {
	epoch, err := t.fanout.beginSend(ctx)
	if err != nil {
		for _, i := range pending {
			p.events[i].err = t.sendError(err)
		}
		return
	}
	var results []transport.Result
	var partitions []int
	defer func() { t.fanout.endSend(epoch, partitions, results) }()
	envs := make([]*transport.Envelope, 0, len(pending))
	index := make([]int, 0, len(pending))
	for _, i := range pending {
		e := &p.events[i]
		env, err := t.encode(e.value.(*T), &publishOptions{id: e.id, headers: e.headers})
		if err != nil {
			e.err = err
			continue
		}
		if !e.at.IsZero() {
			env.Time = e.at
		}
		envs, index, partitions = append(envs, env), append(index, i), append(partitions, env.Partition)
	}
	if len(envs) == 0 {
		return
	}
	results = make([]transport.Result, len(envs))
	t.bus.transport.Publish(ctx, envs, results)
	for j, i := range index {
		e := &p.events[i]
		e.err = t.sendError(results[j].Err)
		e.published, e.receivers, e.repeated = e.err == nil, results[j].Receivers, e.repeated || results[j].Repeated
	}
}
