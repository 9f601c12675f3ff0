package bus

import "github.com/shardbus/shardbus/bus/internal/mailbox"

// This file is how events enter a lane. The fan-out's lock is held.

// load is how many events wait in the lane's mailbox or run. The fan-out's lock is held.
func (l *lane[T]) load() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.mu.inHand
	taken, running := l.cursorLocked()
	if running {
		n++
	}
	return n + int(l.box.QueuedFrom(taken))
}

// refuses reports whether an event must not enter the lane, which is full.
func (l *lane[T]) refuses() bool {
	l.high.saw(l.capacity)
	p := l.cfg.opts.policy
	return p == Block || p == Fail
}

// roomAt is how many events must have been taken for n places to be free.
func (l *lane[T]) roomAt(n int) uint64 {
	return l.box.End() - uint64(l.capacity) + uint64(n)
}

// append enters an event into the lane's own mailbox, or drops it or another, and
// reports whether drops are to be told. The lane sees it after commit. key is that of the
// event, where the policy is KeepLatest.
func (l *lane[T]) append(c *cell[T], key string) (tell bool) {
	if l.box.Evicting() {
		own := *c
		// While keys change hands in a group, the place of an event tells which others
		// it awaits: then none is given to a newer one.
		inPlace := l.cfg.keys == nil || !l.cfg.keys.Moving()
		lost, depth := l.box.Evict(&own, key, l.capacity, inPlace)
		l.high.saw(depth)
		switch lost {
		case mailbox.NoLoss:
			return false
		case mailbox.Evicted:
			tell = l.countDrop()
		case mailbox.Replaced:
			l.accepted++ // it has the place of another one
			l.countReplaced()
		}
		l.cfg.owner.failAsker(own, ErrMailboxFull)
		return tell
	}
	if l.cfg.opts.policy == DropNewest && l.full() {
		l.accepted++
		l.cfg.owner.failAsker(*c, ErrMailboxFull)
		return l.countDrop()
	}
	l.box.Own.Append(c)
	return false
}

// countDrop counts an event that a full mailbox had no room for, and reports whether drops are to be
// told.
func (l *lane[T]) countDrop() (tell bool) {
	l.dropped++
	return l.cfg.drops.add()
}

// commit shows the lane what was appended to its own mailbox, and wakes it.
func (l *lane[T]) commit() {
	if l.box.Own != nil {
		l.box.Own.Commit()
	}
	l.wakeIfIdle()
}

// received is what became of an envelope.
type received uint8

const (
	receivedOK       received = iota
	receivedDropped           // something was, by the mailbox's policy, and is to be told
	receivedOverflow          // the inbox was full
)

// receive enters an envelope off the transport, for which the lane was chosen. The lane sees it after
// commit.
func (l *lane[T]) receive(c *cell[T], id keyInfo) received {
	s := l.cfg
	if s.opts.policy == Fail && l.full() { // there is no publisher to refuse
		l.accepted++
		if l.countDrop() {
			return receivedDropped
		}
		return receivedOK
	}
	anyLane := id.hash == 0 && s.opts.lanes > 1
	inbox, overflow := &l.inbox, &l.overflow
	if anyLane {
		inbox, overflow = &s.inbox.envelopes, &s.inbox.overflow
	}
	if s.opts.policy != Block || inbox.Len() == 0 && !l.full() {
		if l.append(c, id.key) {
			return receivedDropped
		}
		return receivedOK
	}
	l.accepted++
	size := c.env.Size()
	if !l.durable && s.inbox.bytes+size > s.core.inboxBytes { // what comes off a log is bounded as it is fetched
		l.dropped++
		return receivedOverflow
	}
	s.inbox.bytes += size
	inbox.Push(&c.env)
	overflow.Add(1)
	return receivedOK
}
