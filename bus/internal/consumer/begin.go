package consumer

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// start says that an attempt at an event begins, unless the lease is over.
func (l *lease) start(e *Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Load() != leaseLive {
		return false
	}
	if e.held {
		e.held = false
		l.held--
		l.deliveredLocked(e)
	}
	if !e.started {
		e.started = true
		l.started++
	}
	return true
}

// begin is Event.Begin of an event whose starts the log counts.
func (l *lease) begin(ctx context.Context, e *Event) (attempt, starts int, err error) {
	l.mu.Lock()
	after := e.deferredIn
	l.mu.Unlock()
	// A start is counted from the last outcome, so that has to be in the log first. An event that was
	// deferred before a restart may be due before Consume has returned.
	err = l.committing.Wait(ctx, func() bool {
		opened := l.c.log() != nil
		l.mu.Lock()
		defer l.mu.Unlock()
		return opened && l.committed > after || l.state.Load() != leaseLive
	})
	switch {
	case err != nil:
		return 0, 0, err
	case l.state.Load() != leaseLive:
		return 0, 0, ErrOver
	}
	handle := l.c.log()
	var again backoff
	for {
		starts, err = l.tryBegin(ctx, handle, e)
		switch {
		case err == nil:
			return e.attempt + starts - 1, starts, nil
		case errors.Is(err, ErrTrimmed):
			return 0, 0, err
		case errguard.Is(err, transport.ErrInvalidCommit): // a letter that was purged meanwhile
			return 0, 0, ErrTrimmed
		case over(err):
			l.lost(err)
			return 0, 0, ErrOver
		case l.state.Load() != leaseLive:
			return 0, 0, ErrOver
		case ctx.Err() != nil:
			return 0, 0, errguard.Safe(context.Cause(ctx))
		}
		l.c.report(err)
		if err := again.wait(ctx, err); err != nil {
			return 0, 0, err
		}
	}
}

// tryBegin counts a start and loads the event.
func (l *lease) tryBegin(ctx context.Context, handle transport.Consumer, e *Event) (starts int, err error) {
	if e.Envelope == nil || e.At.IsZero() {
		var entries []transport.Entry
		err := usercode.Call("Load of the log", func() (err error) {
			entries, err = handle.Load(ctx, l.id, []transport.EventRef{e.Ref()})
			return err
		})
		if err != nil {
			return 0, err
		}
		if len(entries) == 0 {
			return 0, ErrTrimmed
		}
		*e.Envelope = *entries[0].Envelope
		e.Envelope.Extra, e.At = e, entries[0].At
	}
	err = usercode.Call("Begin of the log", func() (err error) {
		starts, err = handle.Begin(ctx, l.id, e.Ref())
		return err
	})
	return starts, err
}
