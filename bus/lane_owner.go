package bus

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus/internal/keyshare"
	"github.com/shardbus/shardbus/transport"
)

// Bits of a subscription's control word.
const (
	ctlPaused     uint32 = 1 << iota // start no handler
	ctlLeft                          // accepts no events any more
	ctlClosing                       // abandon what waits and end
	ctlReattach                      // a lane that runs dry returns to the topic's shared mailbox
	ctlInspected                     // what a handler has in hand is being read: see awaitInspection
	ctlHeld                          // start no handler: the bus is not started
	ctlReplaced                      // another one has its place: it ends when nothing is pending any more
	ctlAwaiting                      // start no handler before those whose place it took have ended
	ctlSucceeding                    // the same, for each key by itself
	ctlReturning                     // give back to the log what is not started
)

// laneConfig is what the lanes of one subscription have in common.
type laneConfig[T any] struct {
	core        *core
	info        *topicInfo
	name        string // of the subscription
	opts        *subscribeOptions
	ctl         *atomic.Uint32
	handler     Handler
	batch       batchHandler[T] // nil unless events are handled in batches
	hook        laneHook        // nil unless there are actors
	keys        *keyshare.Group // nil unless it is in a group, or took another one's place
	grouped     bool            // it is in a group
	inbox       *inbox          // nil without a transport
	drops       dropCount
	plain       bool // there is nothing around the handler
	debug       bool
	asked       bool // T is a Request
	hasPointers bool // events may keep other memory alive
	owner       laneOwner[T]
}

// laneOwner is the subscription of a lane, for what is rare.
type laneOwner[T any] interface {
	context() context.Context
	// measured is where the times of handling are kept.
	measured() *times
	// deadLetter keeps a dead letter and tells OnDeadLetter.
	deadLetter(ctx context.Context, c *cell[T], d Delivery, j *disposition)
	// countPanic counts a panic of whoever is named.
	countPanic(who string, cause error)
	// failAsker tells an asker that its event was given up, if there is one.
	failAsker(c cell[T], err error)
	// lockMailboxes keeps publishers out of the mailboxes.
	lockMailboxes()
	unlockMailboxes()
	// mustWait tells whether another one of those in keys has not done with key, as far
	// as that matters to the n-th event that entered l, or, if epoch is not 0, to one that was given back
	// in that epoch.
	mustWait(l keyshare.Lane, key string, n uint64, epoch int) bool
	// ownsLocked reports whether events of a key are for it, and no other one of its group. The fan-out's
	// lock is held.
	ownsLocked(key string) bool
	// reattach has its one lane, which ran dry, read the topic's shared mailbox again.
	reattach()
	// reclaim clears what all readers of the topic's shared mailbox are done with.
	reclaim()
	// retire ends a subscription that was replaced, if nothing of it is pending any more.
	retire()
	// reportOverflow reports that env found the inbox full.
	reportOverflow(env *transport.Envelope, now time.Time)
	// laneClosed is called as a lane ends.
	laneClosed()
}

// laneHook looks after what a handler keeps for each lane: actors. The lane's goroutine calls it,
// with a context that outlasts the subscription's.
type laneHook interface {
	// onIdle is called when the lane runs dry, with a function that has onTimer called soon.
	onIdle(lane int, signal func())
	onTimer(lane int)
	onEnd(lane int)
	// onReturn is called when leases of a durable topic have ended, or are to be given back.
	onReturn(lane int)
}

// batchHandler is the handler of SubscribeBatch.
type batchHandler[T any] func(ctx context.Context, batch []Message[T]) error

func actorName(key string) string { return "actor " + key }

func laneName(i int) string { return fmt.Sprintf("lane %d", i) }
