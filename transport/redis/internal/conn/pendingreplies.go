package conn

import (
	"bytes"
	"fmt"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// pendingReplies is what a server is yet to answer on one connection of rueidis, in order. It is
// pure. It knows what rueidis takes for granted: each command has one reply; a subscription has a
// push for each channel in place of it, or an error; rueidis sends a PING behind each end of a
// subscription, and takes the PONG for the answer, since how many pushes there are is not known.
// What is not so ends the process, not the connection, if rueidis sees it.
type pendingReplies struct {
	queue []pendingReply
	done  int  // of queue, that have come
	skip  int  // pushes that belong to a subscription whose first has come
	unsub bool // the last command was the end of a subscription
}

// pendingReply is what is to come for one command.
type pendingReply struct {
	kind     replyKind
	channels int // of a subscription
}

type replyKind uint8

const (
	replyPlain replyKind = iota
	replySubscribed
	replyUnsubscribed
	replyPong // behind dueUnsubscribed
)

// subscribing reports whether a word says that a subscription begins.
func subscribing(word []byte) bool {
	return bytes.EqualFold(word, []byte("ssubscribe")) || bytes.EqualFold(word, []byte("subscribe")) || bytes.EqualFold(word, []byte("psubscribe"))
}

// unsubscribing reports whether a word says that a subscription ends.
func unsubscribing(word []byte) bool {
	return bytes.EqualFold(word, []byte("sunsubscribe")) || bytes.EqualFold(word, []byte("unsubscribe")) || bytes.EqualFold(word, []byte("punsubscribe"))
}

// sent takes in a command.
func (d *pendingReplies) sent(command *resp.Message) {
	next := pendingReply{kind: replyPlain}
	switch name := command.Head(); {
	case subscribing(name):
		next = pendingReply{kind: replySubscribed, channels: command.N - 1}
	case unsubscribing(name):
		next.kind = replyUnsubscribed
	case d.unsub:
		next.kind = replyPong
	}
	d.unsub = next.kind == replyUnsubscribed
	d.queue = append(d.queue, next)
}

// first returns what comes next.
func (d *pendingReplies) first() (next pendingReply, is bool) {
	if d.done == len(d.queue) {
		return pendingReply{}, false
	}
	return d.queue[d.done], true
}

// pop takes the first off. There are thousands where many subscribe at once, so that they are not
// moved each time.
func (d *pendingReplies) pop() {
	if d.done++; 2*d.done >= len(d.queue) {
		d.queue, d.done = d.queue[:copy(d.queue, d.queue[d.done:])], 0
	}
}

// received takes in a message that is no event. An error says that it must not be handed on.
func (d *pendingReplies) received(m *resp.Message) error {
	next, is := d.first()
	switch {
	case m.Type == '>' && unsubscribing(m.Head()):
		if d.skip > 0 {
			return fmt.Errorf("%w: the end of a subscription among the confirmations of others", resp.ErrUnasked)
		}
		return nil // it says so unasked, too, when a slot moves
	case m.Type == '>' && subscribing(m.Head()):
		switch {
		case d.skip > 0:
			d.skip--
		case next.kind == replySubscribed:
			d.skip = max(0, next.channels-1)
			d.pop()
		default:
			return fmt.Errorf("%w: a subscription was confirmed", resp.ErrUnasked)
		}
		return nil
	case m.Type == '>':
		return nil
	case !is:
		return fmt.Errorf("%w: %q", resp.ErrUnasked, m.Head())
	}
	wrong := fmt.Errorf("%w: %q in answer to a subscription", resp.ErrUnasked, m.Head())
	switch next.kind {
	case replySubscribed:
		if m.Type != '-' || string(m.Head()) == "QUEUED" {
			return wrong
		}
	case replyUnsubscribed:
		switch {
		case pong(m):
			d.pop() // that of the PING, too
		case m.Type != '-' || string(m.Head()) == "QUEUED":
			return wrong
		}
	case replyPong:
		if !pong(m) {
			return wrong
		}
	case replyPlain:
	}
	d.pop()
	return nil
}

// pongRefused begins a refusal of PING that rueidis takes for its answer. It is no longer than
// those of pingRefused, which rueidis does not: it would take the next reply to whatever for the
// answer.
const pongRefused = "LOADING"

// pong reports whether rueidis takes a message for the answer to a PING behind the end of a
// subscription.
func pong(m *resp.Message) bool {
	switch head := m.Head(); m.Type {
	case '*', '~', '%':
		return string(head) == "pong"
	case '-':
		return bytes.HasPrefix(head, []byte(pongRefused)) || bytes.HasPrefix(head, []byte("BUSY")) || bytes.Contains(head, []byte("'ping'"))
	default:
		return string(head) == "PONG"
	}
}
