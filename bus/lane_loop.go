package bus

import (
	"runtime/debug"
	"time"
)

// batch handles events until none is ready or something else is to be done. A
// panic that no guard caught fails the current attempt and ends the batch.
func (l *lane[T]) batch() (out batchEnd) {
	defer l.caught(&out)
	l.inBatch = true
	out = l.handleReady()
	l.inBatch = false
	return out
}

func (l *lane[T]) handleReady() batchEnd {
	retryTurn := true // of what is deferred and due; it alternates with what arrives
	for {
		busy := l.ctl.Load() != 0 || l.mu.retries.Len() > 0 || l.special
		if busy {
			if out := l.runPending(&retryTurn); out == again {
				continue
			} else if out != ranDry {
				return out
			}
		}
		var handled bool
		switch {
		case l.takes:
			l.refill()
			if l.batched && l.attempts.mustLinger() {
				if l.mu.retries.Len() > 0 && l.due.Load() {
					continue
				}
				return lingering
			}
			if handled = l.attempts.take(min(l.batchSize(), l.cfg.opts.maxDeferred-l.mu.retries.Len())); handled {
				l.attempts.run()
			}
		case busy:
			handled = l.takeOne()
		default:
			handled = !l.stream()
		}
		if handled || l.refill() || l.mu.retries.Len() > 0 && l.due.Load() {
			continue
		}
		l.rest()
		if l.special && l.cfg.hook != nil {
			l.cfg.hook.onIdle(l.index, l.runTimer)
		}
		return ranDry
	}
}

// takeOne handles the next event, or has it wait behind its key, and reports whether there was one.
func (l *lane[T]) takeOne() bool {
	c := l.box.Next()
	if c == nil {
		return false
	}
	if l.box.Position() >= l.wait.wakeAt.Load() {
		l.wakeWaiters()
	}
	if l.ctl.Load()&ctlClosing != 0 { // asked again, after Next: see abandonTaken
		l.abandonTaken(c)
		return true
	}
	if l.mayDefer() && l.deferTaken(c) {
		return true
	}
	if err := l.handle(c); err != nil {
		l.failCurrent(err)
	}
	return true
}

// stream is the short way for lanes that have nothing else to look after: it handles
// what stands in the mailbox, until that runs dry, which it reports, or something else is
// to be done first. The caller has seen that the control word is 0.
func (l *lane[T]) stream() (dry bool) {
	for {
		cells := l.box.Batch()
		if len(cells) == 0 {
			return true
		}
		for i := range cells {
			if l.box.Take() >= l.wait.wakeAt.Load() {
				l.wakeWaiters()
			}
			if l.ctl.Load()&ctlClosing != 0 { // asked again, after Take: see abandonTaken
				l.abandonTaken(&cells[i])
				return false
			}
			err := l.handle(&cells[i])
			if err != nil {
				l.failCurrent(err)
			}
			ctl := l.ctl.Load() // after the handler, and before its event is let go of
			if ctl&ctlInspected != 0 {
				l.awaitInspection()
			}
			l.box.Clear()
			if ctl != 0 || err != nil && l.mu.retries.Len() > 0 {
				return false
			}
		}
	}
}

// handle makes the first attempt at an event.
func (l *lane[T]) handle(c *cell[T]) error {
	l.current = c
	d := &l.d
	d.head, d.value = &c.head, &c.v
	d.attempt, d.encoded = 1, c.seq == 0
	if !c.bare() {
		l.viewEnvelope()
	}
	if l.sample.left > 0 {
		l.sample.left--
		return l.handler(l.ctx, &l.d)
	}
	return l.timed()
}

// timed runs the chain for the current event, measures it, and looks how deep the
// mailbox is.
func (l *lane[T]) timed() error {
	l.high.saw(l.box.Waiting())
	start := time.Now()
	err := l.handler(l.ctx, &l.d)
	took := time.Since(start)
	l.cfg.owner.measured().add(took)
	l.sample.took(took)
	return err
}

// runPending does what comes before the next event: ranDry says that the event's
// turn has come, again that something else was handled.
func (l *lane[T]) runPending(retryTurn *bool) batchEnd {
	s := l.cfg
	ctl := l.ctl.Load()
	if ctl&ctlInspected != 0 {
		l.awaitInspection()
	}
	if l.durable && ctl&ctlClosing == 0 {
		l.rest()
		l.attendLog()
	}
	if ctl&(ctlPaused|ctlHeld|ctlAwaiting|ctlClosing) != 0 {
		l.rest()
		if ctl&ctlClosing != 0 {
			return closing
		}
		return resting
	}
	if s.hook != nil && l.timerFired.Load() {
		l.rest()
		l.timerFired.Store(false)
		s.hook.onTimer(l.index)
	}
	if l.mu.retries.Len() > 0 {
		full := l.mu.retries.Len() >= s.opts.maxDeferred
		if (*retryTurn || full) && l.due.Load() && l.hand().takeRetries(l.batchSize()) {
			l.attempts.run()
			*retryTurn = false
			return again
		}
		if full {
			l.rest()
			return resting
		}
	}
	*retryTurn = true
	return ranDry
}

// viewEnvelope says that the event in hand keeps other memory alive, whatever its type.
func (l *lane[T]) viewEnvelope() {
	l.hasPointers = true
	l.box.MarkDirty()
}

// rest says that no event runs, and lets go of the events handled.
func (l *lane[T]) rest() {
	l.current, l.d.value, l.d.head = nil, nil, nil
	l.box.Idle()
}

// caught is deferred around a batch. When the batch did not end by itself, the
// handler or a middleware panicked, or ended the goroutine.
func (l *lane[T]) caught(out *batchEnd) {
	if !l.inBatch {
		return
	}
	l.inBatch = false
	err := ErrGoexit // then the goroutine ends, whatever we do
	if r := recover(); r != nil {
		err = &PanicError{Value: r, Stack: debug.Stack()}
		*out = again
	}
	if l.current != nil {
		l.failCurrent(err)
	} else if l.attempts != nil {
		l.attempts.abort(err)
	}
}
