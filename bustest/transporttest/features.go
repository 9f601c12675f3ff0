package transporttest

import (
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// Broker is what the transports of one case meet at.
type Broker struct {
	// Connect makes one more transport on this broker, as for one more bus. It is
	// called several times in a case, and fails t if it can't. What the transport
	// holds is given back by its Close, if it has one, which the suite calls, or
	// by t.Cleanup. Required.
	Connect func(t testing.TB) transport.Transport

	// Sever cuts a transport that Connect made off from the broker, until mend is
	// called: nothing of what others publish reaches it, nothing of what it
	// publishes is accepted. It returns when that has taken effect, and so does
	// mend. Required by Features.Sever.
	Sever func(t testing.TB, tr transport.Transport) (mend func())

	// Garble publishes on a topic that is not partitioned, past every transport, a
	// message that is no event: what a foreign program sends that gets the format
	// wrong. It returns the message, and fails t if it can't. Required by
	// Features.Garble.
	Garble func(t testing.TB, topic transport.Topic) (message []byte)
}

// Features is what a transport claims to do, so that the cases for it are run.
// The zero value runs next to nothing.
type Features struct {
	// Ephemeral: an event reaches the transports that are subscribed when it is
	// published.
	Ephemeral bool

	// Partitions is the largest number of partitions that the suite gives a
	// topic; 16 is plenty. Zero: topics are not partitioned.
	Partitions int

	// MaxPayload is that of the transport's Capabilities, at least 1 KiB. Zero: no
	// limit.
	MaxPayload int

	// Claim: it is a transport.Claimer.
	Claim bool

	// Health: it is a transport.HealthReporter.
	Health bool

	// Close: it has a method Close() error.
	Close bool

	// Sever: Broker.Sever can be called.
	Sever bool

	// Garble: Broker.Garble can be called, because others than the transports can
	// publish on the broker what is no event.
	Garble bool

	// Mismatch: it tells a transport.MismatchSink of peers that know a topic
	// otherwise.
	Mismatch bool

	// Forget: it is a transport.Forgetter.
	Forget bool

	// Bubble runs each case in a testing/synctest bubble of its own, so that
	// waiting costs nothing. Broker and transports must then do without sockets
	// and without goroutines that are older than the case. Who can, should.
	Bubble bool
}

// need is a feature that a case can't do without.
type need string

const (
	ephemeral  need = "Ephemeral"
	partitions need = "Partitions"
	limit      need = "MaxPayload"
	claim      need = "Claim"
	health     need = "Health"
	closing    need = "Close"
	sever      need = "Sever"
	garble     need = "Garble"
	mismatch   need = "Mismatch"
	forget     need = "Forget"
)

func (f Features) has(n need) bool {
	switch n {
	case ephemeral:
		return f.Ephemeral
	case partitions:
		return f.Partitions > 0
	case limit:
		return f.MaxPayload > 0
	case claim:
		return f.Claim
	case health:
		return f.Health
	case closing:
		return f.Close
	case sever:
		return f.Sever
	case garble:
		return f.Garble
	case mismatch:
		return f.Mismatch
	case forget:
		return f.Forget
	}
	return false
}
