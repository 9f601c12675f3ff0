package bus

import "runtime/debug"

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
	if l.batchRun != nil {
		return l.batchRun.handleReady()
	}
	retryTurn := true // of what is deferred and due; it alternates with what arrives
	for {
		var c *cell[T]
		if busy := l.ctl.Load() != 0 || l.mu.retries.Len() > 0 || l.special; busy {
			if out := l.runPending(&retryTurn); out == again {
				continue
			} else if out != ranDry {
				return out
			}
			if c = l.take(); c != nil && l.ctl.Load()&ctlClosing != 0 {
				l.abandonTaken(c)
				continue
			}
		} else if !l.stream() {
			continue // something came up
		}
		if c == nil {
			if l.refill() || l.mu.retries.Len() > 0 && l.due.Load() {
				continue
			}
			l.rest()
			if l.special && l.sub.hook != nil {
				l.sub.hook.onIdle(l.index, l.runTimer)
			}
			return ranDry
		}
		if (l.mu.retries.Len() > 0 || l.special && l.sub.group != nil) && l.deferBehind(c) {
			continue
		}
		if err := l.handle(c); err != nil {
			l.finishFailed(err)
		}
	}
}

// stream is the short way for lanes that have nothing else to look after: it handles
// what stands in the log, until that runs dry, which it reports, or something else is
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
				l.finishFailed(err)
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
	l.view(c, 1)
	if l.sample.left > 0 {
		l.sample.left--
		return l.handler(l.ctx, &l.d)
	}
	return l.timed()
}

// runPending does what comes before the next event: ranDry says that the event's
// turn has come, again that something else was handled.
func (l *lane[T]) runPending(retryTurn *bool) batchEnd {
	s := l.sub
	ctl := l.ctl.Load()
	if ctl&ctlInspected != 0 {
		l.awaitInspection()
	}
	if ctl&(ctlPaused|ctlHeld|ctlClosing) != 0 {
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
		if (*retryTurn || full) && l.due.Load() && l.runRetry() {
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

// view points the lane's Delivery at c for an attempt.
func (l *lane[T]) view(c *cell[T], attempt int) {
	d := &l.d
	d.head = &c.head
	d.value = &c.v
	d.attempt = attempt
	d.encoded = c.seq == 0
	if c.env != nil {
		l.viewEnvelope(c)
	}
}

// viewEnvelope is the part of view that most events don't need.
func (l *lane[T]) viewEnvelope(c *cell[T]) {
	if l.group == nil {
		l.hasPointers = true
		l.box.MarkDirty()
	} else if l.d.encoded {
		var zero T
		c.v = zero // what the last attempt decoded
	}
}

// take takes the next event out of the mailbox; it runs from now on. Whatever
// ran before has settled.
func (l *lane[T]) take() *cell[T] {
	c := l.box.Next()
	if c != nil && l.box.Position() >= l.wait.wakeAt.Load() {
		l.wakeWaiters()
	}
	return c
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
	if l.batchRun != nil {
		err := ErrGoexit
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
			*out = again
		}
		l.batchRun.abort(err)
		return
	}
	if r := recover(); r != nil {
		l.finishFailed(&PanicError{Value: r, Stack: debug.Stack()})
		*out = again
		return
	}
	l.finishFailed(ErrGoexit) // and the goroutine ends, whatever we do
}
