package bus

import "github.com/shardbus/shardbus/bus/internal/slowwatch"

// This file is what the watch for slow handlers asks lanes.

func (l *lane[T]) Progress() (attempt uint64, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progressLocked()
}

// progressLocked takes in what grows when an event is taken, and what when an attempt at one that
// was taken before ends.
func (l *lane[T]) progressLocked() (attempt uint64, busy bool) {
	taken, running := l.cursorLocked()
	busy = !l.mu.disposing && (running || l.mu.inHand > 0)
	return taken + l.mu.handled + l.mu.failed + l.mu.snoozed, busy
}

func (l *lane[T]) NotifyNextStart() {
	l.wait.mu.Lock()
	l.wait.mu.tell = true
	l.wait.wakeAt.Store(0) // as if a publisher waited for the next event to be taken
	l.wait.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.tell = true
}

// beginDisposing says that the handler has returned: what comes now is not its doing.
func (l *lane[T]) beginDisposing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.disposing = true
}

func (l *lane[T]) Inspect(on bool) {
	if on {
		l.ctl.Or(ctlInspected)
	} else {
		l.ctl.And(^ctlInspected)
	}
}

// awaitInspection is called by the lane's goroutine between the handler of an event and
// whatever lets go of that, when ctlInspected is set.
func (l *lane[T]) awaitInspection() {
	l.core.slow.AwaitInspection()
}

func (l *lane[T]) TakeSlow(attempt uint64, inHandler bool) (a slowwatch.Attempt, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now, busy := l.progressLocked(); now != attempt || !busy {
		return slowwatch.Attempt{}, false
	}
	l.mu.slow++
	a = slowwatch.Attempt{
		Topic: l.cfg.info.name, Subscription: l.cfg.name, Lane: l.index, Number: 1, Events: 1,
	}
	switch {
	case l.mu.inHand > 0: // until that is 0, under the lock, the items stand still
		it := &l.attempts.items[0]
		a.Number, a.Events = it.number, l.mu.inHand
		if it.retry != nil {
			a.Key = known(it.retry.Name)
		} else {
			l.keyOf(&a, &it.held)
		}
	case inHandler:
		l.keyOf(&a, l.box.Running())
	default:
		a.KeyUnknown = "the handler was about to return, or its stack is unknown"
	}
	return a, true
}

func known(key string) func() string { return func() string { return key } }

// keyOf finds the key of an event whose handler runs. What came off a transport is decoded
// meanwhile, and so not to be read.
func (l *lane[T]) keyOf(a *slowwatch.Attempt, c *cell[T]) {
	switch find := l.cfg.info.key; {
	case c.seq == 0 && c.env != nil && c.env.Key != "":
		a.Key = known(c.env.Key)
	case find == nil:
		a.Key = known("")
	case c.seq == 0:
		a.KeyUnknown = "it is part of an event that came without it, and is being decoded or handled"
	default:
		v := c.v
		a.Key = func() string { return find(&v) }
	}
}
