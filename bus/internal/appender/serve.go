package appender

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// appendHere makes the first attempt at a batch, which has one waiter, on the waiter's goroutine, and
// returns when the waiter's results are set.
func (q *queue) appendHere(ctx context.Context, b *batch) {
	b.caller = ctx
	q.attempt(b)
	b.caller = nil
	s, err := q.resolve(b)
	if s == repeat || s == renumber {
		b.here.done, b.shared = make(chan struct{}, 1), true
		q.start(b)
		q.wait(ctx, &b.here)
		return
	}
	more := q.finishHere(b, s)
	b.fill(b.seats[0], err)
	b.release()
	if more {
		q.start(nil)
	}
}

// start has a goroutine go on with b, if it is not nil, and with what is in the queue.
func (q *queue) start(b *batch) {
	if q.appender.Go("append", func() { q.serve(b) }) {
		return
	}
	err := fmt.Errorf("%w: the bus has ended", transport.ErrClosed)
	switch {
	case b == nil:
	case b.doubt == nil:
		q.answer(b, reject, err)
	default:
		q.answer(b, giveUp, uncertain(fmt.Errorf("%w: %w", err, errguard.Safe(b.doubt))))
	}
	for b = q.next(); b != nil; b = q.next() {
		q.answer(b, reject, err)
	}
}

// serve appends b, if it is not nil, and then what is in the queue.
func (q *queue) serve(b *batch) {
	for {
		if b == nil {
			b = q.next()
		}
		if b == nil {
			return
		}
		answered := len(b.seats)
		q.run(b)
		q.gather(answered)
		b = nil
	}
}

// gather lets those that were just answered come again, before the next call: else that has only the
// quickest of them, and the others wait for one more.
func (q *queue) gather(answered int) {
	for range min(answered-1, 4) {
		q.mu.Lock()
		waiting := q.mu.waiting
		q.mu.Unlock()
		if waiting >= answered {
			return
		}
		runtime.Gosched()
	}
}

// run attempts a batch until it is answered.
func (q *queue) run(b *batch) {
	for {
		q.pause(b.delay)
		q.attempt(b)
		s, err := q.resolve(b)
		switch {
		case s == repeat || s == renumber:
			continue
		case s == reject && len(b.seats) > 1 && dividable(err):
			q.split(b)
			b.release()
			return
		}
		q.answer(b, s, err)
		return
	}
}

// answer ends a batch.
func (q *queue) answer(b *batch, s step, err error) {
	if s == reject && errguard.Is(err, transport.ErrLogFull) {
		for _, p := range q.larger(b) {
			p.answer(err)
			p.release()
		}
	}
	q.finish(b, s)
	b.answer(err)
	b.release()
}

// dividable reports whether some of the waiters of a batch may be the reason for an error.
func dividable(err error) bool {
	return errguard.Is(err, transport.ErrLogFull) || errguard.Is(err, transport.ErrTooLarge) || errguard.Is(err, transport.ErrInvalidBatch)
}

// pause waits before a repetition.
func (q *queue) pause(d time.Duration) {
	if d == 0 {
		return
	}
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-q.appender.ctx.Done():
	}
}

// attempt has the log append a batch.
func (q *queue) attempt(b *batch) {
	ctx := b.ctx
	if b.ctx = nil; ctx == nil {
		q.mu.Lock()
		ctx = q.contextLocked()
		q.mu.Unlock()
	}
	b.prepare(q.place)
	var here *call
	if b.caller != nil && b.caller.Done() != nil {
		here = &call{queue: ctx, caller: b.caller}
		ctx = here
	}
	done := false
	defer func() {
		here.release()
		if done {
			return
		}
		b.broken = true
		if r := recover(); r != nil {
			b.results[0] = transport.AppendResult{Err: &usercode.PanicError{What: "Append of the log", Value: r, Stack: debug.Stack()}}
			return
		}
		b.results[0] = transport.AppendResult{Err: fmt.Errorf("Append of the log %w", usercode.ErrGoexit)}
		// This goroutine ends. If it is the caller's nobody waits.
		if b.caller != nil {
			b.here.done = make(chan struct{}, 1)
		}
		s, err := q.resolve(b)
		q.answer(b, s, err)
		q.start(nil)
	}()
	q.appender.Log.Append(ctx, b.call[:], b.results[:])
	done = true
}

// resolve decides what to do after an attempt, and returns the error for the callers if it is over.
func (q *queue) resolve(b *batch) (step, error) {
	r := &b.results[0]
	if r.Err == nil && !r.Repeated {
		return accept, nil
	}
	s := b.decide(r, time.Now())
	switch closed := q.appender.closed.Load(); {
	case s == repeat && closed:
		return giveUp, uncertain(fmt.Errorf("%w: %w", q.appender.errClosed(), errguard.Safe(r.Err)))
	case s == renumber && closed:
		return reject, q.appender.errClosed()
	case s == giveUp:
		q.report(fmt.Errorf("gave up after %d attempts; the epoch is raised: %w", b.n, errguard.Safe(r.Err)))
		return giveUp, uncertain(r.Err)
	case s == accept || s == reject:
		return s, errguard.Safe(r.Err)
	}
	b.delay = backoff(b.n)
	q.mu.Lock()
	q.mu.doubt = b.doubt
	if s == renumber {
		q.mu.numbers.raise(1 << b.raises)
		b.raises++
		q.numberLocked(b)
	}
	q.mu.Unlock()
	if s == renumber {
		q.report(fmt.Errorf("the epoch is raised to %d: %w", b.publisher.Epoch, misnumbered(r)))
	}
	return s, nil
}

// misnumbered is why a batch needs other numbers.
func misnumbered(r *transport.AppendResult) error {
	if r.Err == nil {
		return errors.New("the log had events of these numbers before")
	}
	return errguard.Safe(r.Err)
}
