package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// PublishHandler publishes a [Publication], or the rest of it. nil says that every event of it is
// published.
type PublishHandler func(ctx context.Context, p *Publication) error

// PublishMiddleware wraps what publishes the events of a topic. NewTopic calls it; the PublishHandler it
// returns is called for each Publish, PublishBatch, PublishMessages and Ask, on the caller's goroutine,
// from many at once. If it returns nil, NewTopic fails with [ErrNilHandler].
//
// It may add headers, change the context, refuse single events ([Publication.Refuse]) or all, by not
// calling next and returning an error, which the caller gets. It may call next again, which then
// publishes what is not published yet. A [RetryAfter] that it returns has Publish wait, within its
// context and until the bus or the topic has closed, and run the chain again with the events that are not
// published yet; [Snooze] does the same. What made an earlier run fail is forgotten then: the caller
// gets the error of the last run. Of a single event that is what the chain returned; of the events of
// a batch each has the error with which it was refused or failed, and the others have what the chain
// returned. To return nil without having called next is [ErrNotPublished]. A panic is the caller's.
//
// Everything that is published passes it, by actors and from OnDeadLetter too. A Replay does not: it
// publishes nothing, but gives an event to one subscription once more.
type PublishMiddleware func(next PublishHandler) PublishHandler

// ErrNotPublished: a PublishMiddleware returned nil and had not called next.
var ErrNotPublished = errors.New("the middleware reported success and had not published the event")

// Publication is one call of Publish, PublishBatch, PublishMessages or Ask on its way, as
// [PublishMiddleware] sees it: one event or more of a topic. It is valid until that call returns, and
// only on its goroutine.
type Publication struct {
	info    *topicInfo
	events  []publicationEvent
	one     [1]publicationEvent // events, where there is one
	attempt int
	called  bool // next was, in this attempt
	receipt *Receipt
	invalid error // why nothing of it is published
	// busClosed and topicClosed end the wait for another run.
	busClosed, topicClosed <-chan struct{}
	// publish is the end of the chain: it publishes the events with these indexes.
	publish func(ctx context.Context, p *Publication, pending []int)
}

// publicationEvent is an event with what it is to bear.
type publicationEvent struct {
	value     any // a *T
	id        string
	headers   Headers
	at        time.Time // zero: now, or unknown
	due       time.Time // zero: at once
	err       error     // why it is not published; nil before the present attempt tried it
	refused   bool
	published bool
	receivers int  // as in Receipt, once it is published
	repeated  bool // likewise

	// Of a durable topic, as in Receipt.
	partition int
	offset    uint64
	duplicate bool
}

// Topic is the name of the topic.
func (p *Publication) Topic() string { return p.info.name }

// Len is how many events there are: 1 but for batches.
func (p *Publication) Len() int { return len(p.events) }

// Attempt counts the runs of the chain from 1: it is more than 1 after a [RetryAfter].
func (p *Publication) Attempt() int { return p.attempt }

// Key is the ordering key of the i-th event; empty when it has none.
func (p *Publication) Key(i int) string {
	if p.info.key == nil {
		return ""
	}
	return p.info.key(p.events[i].value)
}

// ID is the ID that the i-th event was given, by [ID] for example; empty where the bus makes one.
func (p *Publication) ID(i int) string { return p.events[i].id }

// Headers are those that the i-th event bears so far.
func (p *Publication) Headers(i int) Headers { return p.events[i].headers }

// Due is when the i-th event of a durable topic is to be handled, by [At] for example; zero: at once.
func (p *Publication) Due(i int) time.Time { return p.events[i].due }

// SetHeader adds a header to the i-th event. It replaces one of the same name. After the event was
// published it has no effect.
func (p *Publication) SetHeader(i int, name, value string) {
	p.events[i].headers = p.events[i].headers.With(name, value)
}

// Refuse leaves the i-th event out: it is not published, and the caller gets err for it, which must
// not be nil. The others go on. After the event was published it has no effect.
func (p *Publication) Refuse(i int, err error) {
	if e := &p.events[i]; !e.published {
		if err == nil {
			err = fmt.Errorf("%w: Refuse was given no error", ErrInvalidConfig)
		}
		e.err, e.refused = p.error(err), true
	}
}

// PublishedValue is the i-th event of p. It returns false when T is not the topic's type. Don't
// change what it points to.
func PublishedValue[T any](p *Publication, i int) (*T, bool) {
	v, ok := p.events[i].value.(*T)
	return v, ok
}

// publishChain is what publishes the events of a topic with publish middleware.
type publishChain struct {
	handler PublishHandler
	closed  chan struct{} // by Topic.Close
}

// wrapPublish composes the middleware around h, the first one outermost. The first ofBus of them are
// Config.UsePublish.
func wrapPublish(h PublishHandler, middleware []PublishMiddleware, ofBus int) (PublishHandler, error) {
	for i := len(middleware) - 1; i >= 0; i-- {
		where := fmt.Sprintf("the middleware at index %d of Config.UsePublish", i)
		if i >= ofBus {
			where = fmt.Sprintf("the middleware at index %d of TopicConfig.UsePublish", i-ofBus)
		}
		if middleware[i] == nil {
			return nil, fmt.Errorf("%w: %s is nil", ErrInvalidConfig, where)
		}
		if h = middleware[i](h); h == nil {
			return nil, fmt.Errorf("%w: %s returned none", ErrNilHandler, where)
		}
	}
	return h, nil
}

// publishNext is the end of the chain.
func publishNext(ctx context.Context, p *Publication) error {
	p.called = true
	var pending []int
	for i := range p.events {
		if e := &p.events[i]; !e.published && !e.refused {
			pending = append(pending, i)
		}
	}
	switch {
	case ctx == nil:
		for _, i := range pending {
			p.events[i].err = p.error(ErrNilContext)
		}
	case len(pending) > 0:
		p.publish(ctx, p, pending)
	}
	return p.result()
}

// result is the error of the only event, or a *BatchError about those of a batch that are not
// published.
func (p *Publication) result() error {
	if len(p.events) == 1 {
		return p.events[0].err
	}
	var failed []IndexedError
	for i := range p.events {
		if err := p.events[i].err; err != nil {
			failed = append(failed, IndexedError{Index: i, Err: err})
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &BatchError{Topic: p.info.name, Total: len(p.events), Failed: failed}
}

// fail says that no event of p can be published.
func (p *Publication) fail(err error) error {
	for i := range p.events {
		p.events[i].err = p.error(err)
	}
	return p.result()
}

// error says that an event of p can't be published.
func (p *Publication) error(err error) error {
	if _, ok := errguard.As[*Error](err); ok {
		return err
	}
	return &Error{Op: "publish", Topic: p.info.name, Err: errguard.Safe(err)}
}

// run runs the chain until it decides, and returns what the caller is told.
func (p *Publication) run(ctx context.Context, chain PublishHandler) error {
	for p.attempt = 1; ; p.attempt++ {
		p.called = false
		err := errguard.Safe(chain(ctx, p))
		v, ok := VerdictOf(err)
		if !ok || v.Action != ActionRetry && v.Action != ActionSnooze {
			return p.decide(err)
		}
		if err := p.sleep(ctx, max(minDelay, v.After)); err != nil {
			return p.giveUp(err, errguard.Safe(v.Err))
		}
		for i := range p.events {
			if e := &p.events[i]; !e.refused {
				e.err = nil
			}
		}
	}
}

// giveUp ends the waiting for another attempt: why it ended comes with what made the last one fail.
func (p *Publication) giveUp(why, failed error) error {
	for i := range p.events {
		e := &p.events[i]
		if e.published || e.refused {
			continue
		}
		if e.err == nil || len(p.events) == 1 {
			e.err = failed
		}
		e.err = p.error(errors.Join(why, e.err))
	}
	if err := p.result(); err != nil {
		return err
	}
	return p.error(errors.Join(why, failed)) // everything is published all the same
}

// decide says of each event what the chain's error means for it.
func (p *Publication) decide(err error) error {
	if err == nil && !p.called && !p.settled() {
		err = ErrNotPublished
	}
	for i := range p.events {
		switch e := &p.events[i]; {
		case e.published, e.refused:
		case err == nil:
			e.err = nil // it was tried and failed, and the chain has dealt with that
		case e.err == nil || len(p.events) == 1:
			e.err = p.error(err)
		}
	}
	if failed := p.result(); failed != nil || err == nil {
		return failed
	}
	return p.error(err) // everything is published all the same
}

// sign fills in the receipt.
func (p *Publication) sign() {
	r := p.receipt
	if r == nil {
		return
	}
	for i := range p.events {
		e := &p.events[i]
		if !e.published {
			e.receivers = 0
		}
		if i == 0 {
			r.Receivers = e.receivers
		}
		r.Receivers, r.Repeated = min(r.Receivers, e.receivers), r.Repeated || e.repeated
		r.Duplicate = r.Duplicate || e.duplicate
		if i == 0 {
			r.Partition, r.Offset = e.partition, e.offset
		}
	}
}

// settled reports whether every event is published or refused.
func (p *Publication) settled() bool {
	for i := range p.events {
		if e := &p.events[i]; !e.published && !e.refused {
			return false
		}
	}
	return true
}

// sleep waits for d. If ctx ends, or the bus or the topic closes first, it returns the cause.
func (p *Publication) sleep(ctx context.Context, d time.Duration) error {
	if ctx == nil {
		return ErrNilContext
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	case <-p.busClosed:
		return ErrClosed
	case <-p.topicClosed:
		return ErrTopicClosed
	}
}
