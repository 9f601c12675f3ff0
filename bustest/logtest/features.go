package logtest

import (
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// Store is what the logs of one case keep their topics in.
type Store struct {
	// Open opens a log for one more bus. It fails t if it can't. The suite closes the log, and
	// calls Open again after that: so it restarts a process. It has two open at once only with
	// Features.Shared. Required.
	Open func(t testing.TB) transport.Log

	// Fail has the next step of a log that is to be durable fail, as a disk does that can't sync.
	// Required by Features.Fail.
	Fail func(t testing.TB, l transport.Log)

	// Garble damages what the log keeps of an event of a partition, past the log, which is closed.
	// Required by Features.Garble.
	Garble func(t testing.TB, topic string, partition int, offset uint64)
}

// Features is what a log claims to do, so that the cases for it are run.
type Features struct {
	// Partitions is the largest number of partitions that the suite gives a topic; 16 is plenty.
	Partitions int
	// MaxPayload, Shared and Within are those of its LogCapabilities.
	MaxPayload int
	Shared     bool
	Within     bool
	// Ranges: members of a consumer that is not Keyed share a partition by ranges of offsets.
	Ranges bool
	// Claim: it is a transport.Claimer.
	Claim bool
	// Fail: Store.Fail can be called.
	Fail bool
	// Garble: Store.Garble can be called.
	Garble bool
	// Bubble runs each case in a testing/synctest bubble of its own, so that waiting costs nothing.
	// Logs must then do without sockets and without goroutines that are older than the case.
	Bubble bool
}

// need is a feature that a case can't do without.
type need string

const (
	shared     need = "Shared"
	within     need = "Within"
	ranges     need = "Ranges"
	claim      need = "Claim"
	failing    need = "Fail"
	garble     need = "Garble"
	limit      need = "MaxPayload"
	bubble     need = "Bubble"
	partitions need = "Partitions"
)

func (f Features) has(n need) bool {
	switch n {
	case shared:
		return f.Shared
	case within:
		return f.Within
	case ranges:
		return f.Ranges
	case claim:
		return f.Claim
	case failing:
		return f.Fail
	case garble:
		return f.Garble
	case limit:
		return f.MaxPayload > 0
	case bubble:
		return f.Bubble
	case partitions:
		return f.Partitions > 1
	}
	return false
}
