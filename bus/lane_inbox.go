package bus

import (
	"sync/atomic"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/transport"
)

// refill moves what fits from the lane's inbox, and then from the one that all
// lanes share, to its mailbox, and reports whether anything did. The lane calls
// it.
func (l *lane[T]) refill() bool {
	if !l.overflowing() {
		return false
	}
	s := l.cfg
	s.owner.lockMailboxes()
	defer s.owner.unlockMailboxes()
	before := l.box.Own.Appended()
	var env *transport.Envelope
	for !l.full() {
		if env = l.popInbox(true); env == nil {
			break
		}
		l.accepted-- // by this lane or another: from now on the mailbox counts it
		s.inbox.bytes -= env.Size()
		l.box.Own.Append(&cell[T]{head: head{env: env}})
	}
	l.box.Own.Commit()
	return l.box.Own.Appended() > before
}

// popInbox takes the next envelope out of the lane's inbox, or, with shared, out of the one that all lanes
// share. nil: there is none.
func (l *lane[T]) popInbox(shared bool) (env *transport.Envelope) {
	s := l.cfg
	if !pop(&l.inbox, &l.overflow, &env) && shared {
		pop(&s.inbox.envelopes, &s.inbox.overflow, &env)
	}
	return env
}

// overflowing tells whether the lane's inbox, or the one that all lanes share, holds
// anything. For any goroutine.
func (l *lane[T]) overflowing() bool {
	return l.remote && (l.overflow.Load() > 0 || l.cfg.inbox.overflow.Load() > 0)
}

// emptyInboxLocked empties an inbox, all the envelopes of which are counted.
func (l *lane[T]) emptyInboxLocked(inbox *ring.Ring[*transport.Envelope], overflow *atomic.Int64, back *[]*consumer.Event) {
	var env *transport.Envelope
	for pop(inbox, overflow, &env) {
		if l.durable {
			*back = append(*back, env.Extra.(*consumer.Event))
		}
		l.cfg.inbox.bytes -= env.Size()
	}
}
