// Package control is what the publishing and the receiving side of the Redis transport do for each
// other, so that neither imports the other. The publishing side has the connections that can be
// written to; it sends the receiving side's messages (Sender, Peer) and answers, from what it
// remembers, the questions that the receiving side hears (Answerer).
package control

import (
	"errors"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// ErrNoOwner is why an event or a subscription waits whose slot nobody serves.
var ErrNoOwner = errors.New("no node owns the slot: the cluster is not whole, see CLUSTER SLOTS")

// Sender sends control messages. The publishing side implements it with Queues. Its methods may be
// called concurrently.
type Sender interface {
	// At returns the queue of a connection. It is never nil.
	At(key connkey.Key) *Queue
	// AnyUp reports whether there is any connection that counts.
	AnyUp(counts func(key connkey.Key) bool) bool
	// Retain forgets the queues of nodes that have no connection and are not wanted.
	Retain(wanted func(addr string) bool)
}

// Answerer knows the publishers of this process. The publishing side implements it. Its methods do
// no I/O and may be called concurrently.
type Answerer interface {
	// Publishers returns the publishers that can be asked.
	Publishers() []string
	// AnswerBaseline returns what each of them says of its position on the channels of a baseline request.
	AnswerBaseline(now time.Time, hello wire.BaselineRequest) []wire.Answer
	// Retransmit answers negative acknowledgements with events of up to limit bytes, or one. It
	// also returns how many numbers it looked at. What it leaves out will be asked for again.
	Retransmit(now time.Time, publisher string, ask wire.Nack, limit int) (answers []wire.Answer, looked int)
	// Positions calls each with the publishers that are known on a channel: the number up to which
	// every event is accepted or abandoned, and the last that was assigned.
	Positions(channel string, slot int, each func(publisher string, resolved, assigned uint64))
	// HastenWatermarks has the watermarks of all channels published soon: questions may have been
	// missed.
	HastenWatermarks()
	// ExpireWindows drops what is remembered for longer than it may be.
	ExpireWindows(now time.Time)
	// NodeFailed says that a node did not accept an event on the connection of a class, or may not
	// have.
	NodeFailed(key connkey.Key)
}

// Message is a control document on its way, or a command.
type Message struct {
	Channel string
	Doc     []byte
	Command []byte // in place of the two
	// Sent, if not nil, is told how many subscribers received the document at the node, or why it
	// was not sent. Answered, if not nil, is told what a command led to. They must not block.
	Sent     func(receivers int, err error)
	Answered func(reply resp.Reply, err error)
}

func (m *Message) size() int { return len(m.Doc) + len(m.Command) }

// Complete tells who sent m how it ended.
func (m *Message) Complete(reply resp.Reply, err error) {
	switch {
	case m.Answered != nil:
		m.Answered(reply, err)
	case m.Sent != nil:
		m.Sent(int(reply.N), err)
	}
}
