package bus

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// This file is how events of a durable topic come to a lane other than out of the mailbox, and leave it
// unstarted. Those of a key keep their order by offset: an event that another lane gives back was
// delivered before others of its key that have come to this one since.

// adopt takes an event. The fan-out's lock is held.
func (l *lane[T]) adopt(e *consumer.Event) {
	a := adopted{e: e, back: e.GivenBack(), n: l.box.Entered() + uint64(l.inbox.Len())}
	// Those before it of its key may be with another member: it came back, or a member has joined since the
	// first of those was adopted.
	if keys := l.cfg.keys; keys != nil && (a.back || keys.Moving()) {
		a.epoch = keys.Epoch()
	}
	e.CountIn(&l.cfg.inbox.committed)
	l.accepted++
	g := l.attempts.log
	l.mu.Lock()
	g.adopted = append(g.adopted, a)
	g.attend.Store(true)
	l.mu.Unlock()
	l.signal()
}

// returnSoon has the lane give back what must not be started any more.
func (l *lane[T]) returnSoon() {
	g := l.attempts.log
	g.returns.Store(true)
	g.attend.Store(true)
	l.signal()
}

// attendLog adopts events, and gives back those that must not be started any more. The lane's goroutine
// calls it, with nothing in hand.
func (l *lane[T]) attendLog() {
	g := l.attempts.log
	if !g.attend.CompareAndSwap(true, false) {
		return
	}
	done := false
	defer func() {
		if !done { // an actor's Stop has ended the goroutine
			l.returnSoon()
		}
	}()
	if h := l.cfg.hook; h != nil && g.returns.Load() {
		h.onReturn(l.index)
	}
	over := l.sortOut()
	for _, e := range over {
		e.Return()
	}
	l.mu.Lock()
	g.givingBack -= len(over)
	rest := l.mu.retries.Len()
	l.mu.Unlock()
	if rest > 0 {
		l.armTimer()
	}
	l.core.changes.Notify()
	done = true
}

// sortOut adopts, and finds what is to be given back.
func (l *lane[T]) sortOut() (over []*consumer.Event) {
	g := l.attempts.log
	l.cfg.owner.lockMailboxes()
	defer l.cfg.owner.unlockMailboxes()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return nil
	}
	leaving := l.ctl.Load()&ctlReturning != 0
	came := g.adopted
	g.adopted = nil
	shelve := g.returns.Swap(false)
	for i := range came {
		shelve = shelve || came[i].back
	}
	if shelve {
		l.shelveLocked(leaving)
	}
	for i := range came {
		l.insertLocked(&came[i])
	}
	n := l.mu.retries.DeleteFunc(func(c *cell[T]) bool {
		e := eventOf(c)
		if !leaving && !e.Over() && l.cfg.owner.ownsLocked(e.Envelope.Key) {
			return false
		}
		over = append(over, e)
		return true
	})
	g.returned += uint64(n) //nolint:gosec // a count
	g.givingBack += n
	return over
}

// byOffset orders events of a key, which are all of one partition.
func byOffset[T any](a, b *cell[T]) bool { return eventOf(a).Offset < eventOf(b).Offset }

// insertLocked puts an adopted event in its place in the retry queue.
func (l *lane[T]) insertLocked(a *adopted) {
	e := a.e
	item := retryqueue.Item[cell[T]]{Event: cell[T]{head: head{env: e.Envelope}}, N: a.n, Attempt: e.Attempt()}
	if e.Letter != 0 || e.Envelope.Key == "" { // a replay keeps no order with events of its key
		l.mu.retries.Defer("", item, e.Due)
		return
	}
	if a.epoch != 0 {
		item.Recheck, item.Epoch = firstRecheck, a.epoch
	}
	l.waitInPlaceLocked(e.Envelope.Key, item, e.Due)
}

// waitInPlaceLocked has an event wait in its place among those of its key. One that stands behind another
// that the log keeps as deferred, which may be long, is kept there, too: what is read behind it must not
// wait. One that stands behind another that the log does not know as deferred must not be: the next
// holder of the lease would start it first.
func (l *lane[T]) waitInPlaceLocked(key string, item retryqueue.Item[cell[T]], due time.Time) (first bool) {
	e := eventOf(&item.Event)
	ahead := l.mu.retries.Insert(key, item, due, byOffset[T])
	if ahead != nil && eventOf(ahead).Deferred() {
		tellBehind(e)
	}
	return ahead == nil
}

// tellBehindsLocked tells the log of all that waits behind events of a key that come again.
func (l *lane[T]) tellBehindsLocked(key string) {
	if last := l.mu.retries.Last(key); last == nil || eventOf(last).Deferred() {
		return // those before it are, too
	}
	for c := range l.mu.retries.Behinds(key) {
		tellBehind(eventOf(c))
	}
}

// shelveLocked moves what waits in the lane's mailbox to the retry queue, where each event can be given
// back, and has its place among those of its key. The fan-out's lock is held, too.
func (l *lane[T]) shelveLocked(all bool) {
	now := time.Now()
	for {
		for c := l.box.Next(); c != nil; c = l.box.Next() {
			e := eventOf(c)
			item := retryqueue.Item[cell[T]]{Event: *c, N: l.box.Number(), Attempt: e.Attempt()}
			key := e.Envelope.Key
			if e.Letter != 0 {
				key = ""
			}
			if key == "" {
				l.mu.retries.Defer("", item, now)
				continue
			}
			if l.cfg.keys != nil {
				item.Recheck = firstRecheck
			}
			l.waitInPlaceLocked(key, item, now)
		}
		if !l.unloadInboxLocked(all) {
			break
		}
	}
	l.box.Idle()
	l.mu.base, _ = l.cursorLocked()
}

// unloadInboxLocked moves what fits from the lane's inbox to its mailbox, and with all what the lanes share,
// too.
func (l *lane[T]) unloadInboxLocked(all bool) (any bool) {
	s := l.cfg
	for !l.full() {
		env := l.popInbox(all)
		if env == nil {
			break
		}
		any = true
		l.accepted-- // as refill
		s.inbox.bytes -= env.Size()
		l.box.Own.Append(&cell[T]{head: head{env: env}})
	}
	if any {
		l.box.Own.Commit()
	}
	return any
}

// tellBehind tells the log, once, that an event waits behind its key, so that it does not hold up what
// is read.
func tellBehind(e *consumer.Event) {
	if !e.Deferred() {
		e.Defer(consumer.Deferral{Attempt: e.Attempt(), Key: e.Envelope.Key, Behind: true})
	}
}

// deferDurableLocked has an event wait in its place among those of its key, if that waits, and says
// whether it is the first of them.
func (l *lane[T]) deferDurableLocked(it *attempt[T], now time.Time) (waits, first bool) {
	_, deferred := l.mu.retries.First(it.key)
	if !it.blocked && !deferred || eventOf(it.cell).Over() {
		return false, false
	}
	due := now
	if it.blocked {
		due = now.Add(firstRecheck)
	}
	return true, l.waitInPlaceLocked(it.key, it.deferred(), due)
}

// giveBack returns events to the log that have left the lane. It is called without locks.
func (l *lane[T]) giveBack(events []*consumer.Event) {
	for _, e := range events {
		e.Return()
	}
	l.mu.Lock()
	l.attempts.log.givingBack -= len(events)
	l.mu.Unlock()
}

// movesLocked reports whether events of a key, or, if it is empty, of any, are on their way from the lane to
// another one, or have come from one and are not in the retry queue yet.
func (l *lane[T]) movesLocked(key string) bool {
	if !l.durable {
		return false
	}
	g := l.attempts.log
	return g.givingBack > 0 || l.mu.closed && !g.released || slices.ContainsFunc(g.adopted, func(a adopted) bool { return key == "" || a.e.Envelope.Key == key })
}
