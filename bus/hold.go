package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/usercode"
)

// hold is what a bus with Config.Hold needs until it is started.
type hold struct {
	starting chan struct{} // held by a call of Start
	began    atomic.Bool   // a Start has begun: Subscribe goes to the transport by itself
}

// startAtOnce is how many topics Start subscribes to at the transport at the same time.
const startAtOnce = 64

// Start makes all that was subscribed on a bus with Config.Hold live, and opens the bus. It returns
// nil when every subscription is live, at the transport too: whatever is published from then on, by
// this process or by another, is routed. What arrives while Start waits is handled from its end on,
// so that no handler publishes into a topic that is not subscribed yet.
//
// When Start returns an error, which names each topic that could not be subscribed, the bus is
// still held: Start may be called again. ctx bounds the wait. On a bus that is started, or has no
// Hold, Start returns nil at once; on one that has ended, ErrClosed.
func (b *Bus) Start(ctx context.Context) error {
	fail := func(err error) error { return &Error{Op: "start", Err: err} }
	if ctx == nil {
		return fail(ErrNilContext)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(b.work, func() { cancel(ErrClosed) })() // the end of the bus ends the wait
	select {
	case b.hold.starting <- struct{}{}:
		defer func() { <-b.hold.starting }()
	case <-ctx.Done():
		return fail(causeOf(ctx))
	}
	switch b.state.Load() {
	case stateOpen:
		return nil
	case stateHeld:
	default:
		return fail(ErrClosed)
	}
	b.hold.began.Store(true)
	if err := b.subscribeHeld(ctx); err != nil {
		return fail(err)
	}
	if !b.state.CompareAndSwap(stateHeld, stateOpen) {
		return fail(ErrClosed)
	}
	for _, s := range b.subscriptions() {
		s.release()
	}
	return nil
}

// subscribeHeld subscribes at the transport to each topic that has subscriptions.
func (b *Bus) subscribeHeld(ctx context.Context) error {
	if b.transport == nil && b.durable == nil {
		return nil
	}
	topics := b.allTopics()
	errs := make([]error, len(topics))
	turns := make(chan struct{}, startAtOnce)
	var running sync.WaitGroup
	for i, t := range topics {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			errs[i] = usercode.Call("the transport's Subscribe of "+t.topicInfo().name, func() error { return t.subscribeHeld(ctx) })
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// held reports whether Subscribe is to leave the transport to Start.
func (b *Bus) held() bool { return b.state.Load() == stateHeld && !b.hold.began.Load() }
