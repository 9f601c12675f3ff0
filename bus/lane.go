package bus

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
	"github.com/shardbus/shardbus/bus/internal/retryqueue"
	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/transport"
)

// States of a lane.
const (
	laneIdle      uint32 = iota // no goroutine; an arriving event starts one
	laneActive                  // a goroutine runs
	laneSignaled                // a goroutine runs, and must look again before it ends
	laneResting                 // no goroutine; only signal starts one: paused, or retry queue is full
	laneLingering               // no goroutine; signal starts one, and the event that makes a batch full
	laneClosed                  // no goroutine, for good
)

// cacheLine is the size of a cache line, or more.
const cacheLine = 64

// idleYields is how often a lane that ran dry gives way before its goroutine
// ends: a new event is often already on its way.
const idleYields = 4

// maxVainSpins is after how many vain attempts in a row a lane gives way only
// every spinAgain-th time.
const (
	maxVainSpins = 4
	spinAgain    = 16
)

// lane is one sequential worker of a subscription. It has a goroutine only
// while there is something to do. What the goroutine writes for every event lies
// on cache lines of its own: a shared one would go back and forth between two
// cores with each event. Publishers write nothing here but the state, and that
// only when they wake it. What an event touches stands together, since among
// thousands of lanes none of it is in a cache: one line that publishers read, and
// four of the goroutine's. A test holds the fields to their lines; the first begins
// 8 bytes in, after what the allocator keeps there.
type lane[T any] struct {
	node     laneNode
	cfg      *laneConfig[T]
	run      func() // the lane on a goroutine of its own; made once so that starting it allocates nothing
	index    int
	capacity int // of the mailbox

	// Read by publishers and for each event, hardly ever written.
	state    atomic.Uint32
	special  bool           // it has a hook, is in a group, takes batches or its mailbox evicts: stream is not for it
	remote   bool           // it has an inbox
	batched  bool           // events are handled in batches
	takes    bool           // it takes events out of its mailbox before it attempts them: batches, and those of a durable topic
	core     *core          // cfg.core, one cache line nearer
	ctl      *atomic.Uint32 // the subscription's
	handler  Handler        // the subscription's
	ctx      context.Context
	attempts *attempts[T] // made when it is needed first: see hand
	wait     roomWaiters

	// Publishers' own, under the fan-out's lock.
	start    uint64 // where in the mailbox it began
	accepted uint64 // of what did not enter there with a place of its own: dropped, replaced, in the inbox
	dropped  uint64
	inbox    ring.Ring[*transport.Envelope]
	overflow atomic.Int64 // inbox.Len(), readable by the lane

	// The goroutine's own.
	_           [8]byte                // to the next line
	box         mailbox.Queue[cell[T]] // its Reader begins a line
	current     *cell[T]               // being handled; nil between events
	sample      sampling
	inBatch     bool        // false again when a batch ended by itself
	hasPointers bool        // events may keep other memory alive
	vainSpins   uint8       // how often in a row it gave way in vain
	durable     bool        // its topic is
	due         atomic.Bool // the timer fired
	d           Delivery

	mu struct {
		sync.Mutex
		retries   retryqueue.Queue[cell[T]]
		disposing bool // an attempt failed, and what comes of that is being carried out
		tell      bool // the watch for slow handlers is to be told of the next start
		inHand    int  // events of a batch, or one out of the retry queue
		// closed says that what waited was abandoned: of a log all from the position closedAt on,
		// and whatever is deferred. See lane_abandon.go.
		closed   bool
		closedAt uint64
		// firstInHand is the number of the first of them in the order in which they
		// entered; noneInHand if they come out of the retry queue.
		firstInHand uint64
		base        uint64
		handled     uint64 // of what was taken before base, and of what was deferred
		discarded   uint64
		dead        uint64
		abandoned   uint64
		failed      uint64
		retried     uint64
		snoozed     uint64
		panicked    uint64
		slow        uint64
	}
	timer      *time.Timer // for the deferred keys
	timerFired atomic.Bool // the hook's timer fired
	high       highWater   // of the mailbox
}

// newLane makes a lane that reads the topic's shared mailbox, or, if that is nil, has a
// mailbox of its own.
func newLane[T any](c *laneConfig[T], index int, log *mailbox.Shared[cell[T]]) *lane[T] {
	l := &lane[T]{
		cfg: c, index: index, core: c.core, ctl: c.ctl, handler: c.handler,
		special: c.hook != nil || c.grouped || c.batch != nil || c.info.durable || c.opts.policy.evicts(),
		remote:  c.inbox != nil, batched: c.batch != nil, takes: c.batch != nil || c.info.durable, durable: c.info.durable,
		capacity: c.opts.capacity, hasPointers: c.hasPointers,
	}
	l.node.core = c.core
	l.run = func() { l.core.runQueue.RunHere(l) }
	l.node.Init(l.taken)
	l.wait.wakeAt.Store(noWaiter)
	l.ctx = &laneContext{Context: c.owner.context(), node: &l.node}
	l.d.info, l.d.sub, l.d.lane = c.info, c.name, int32(index)
	if l.takes {
		l.hand()
	}
	if c.opts.policy.evicts() {
		l.box.Evicts(c.opts.policy == KeepLatest)
		return l
	}
	l.box.Open(log, l.hasPointers)
	l.start = l.box.Taken()
	l.mu.base = l.start
	return l
}

// hand is what the lane has in hand.
func (l *lane[T]) hand() *attempts[T] {
	if l.attempts == nil {
		l.attempts = &attempts[T]{lane: l}
		if l.durable {
			l.attempts.log = new(laneLog)
		}
	}
	return l.attempts
}

// batchSize is how many events it may have in hand.
func (l *lane[T]) batchSize() int {
	if l.batched {
		return l.cfg.opts.batchSize
	}
	return 1
}

// wakeIfIdle starts the lane after an event was committed. The lane looks for events
// once more after it became idle, so an event is seen by one or the other.
func (l *lane[T]) wakeIfIdle() {
	if s := l.state.Load(); s != laneActive {
		l.wake(s)
	}
}

// wake is wake for a lane that was found in state s, not active.
func (l *lane[T]) wake(s uint32) {
	if s == laneIdle || s == laneLingering && l.attempts.full() {
		if l.state.CompareAndSwap(s, laneActive) {
			l.core.runQueue.Submit(l)
		}
	}
}

// signal has the lane look again whatever its state: something other than an
// arriving event changed.
func (l *lane[T]) signal() {
	for {
		switch s := l.state.Load(); s {
		case laneIdle, laneResting, laneLingering:
			if l.state.CompareAndSwap(s, laneActive) {
				go l.run()
				return
			}
		case laneActive:
			if l.state.CompareAndSwap(laneActive, laneSignaled) {
				return
			}
		default:
			return
		}
	}
}

// batchEnd is how a batch ended.
type batchEnd uint8

const (
	ranDry    batchEnd = iota // no event is ready
	again                     // a panic ended it; there may be more
	resting                   // it must not go on: paused, or retry queue is full
	lingering                 // events wait for more to make a batch
	closing                   // the subscription ends
)

// Run is the lane's goroutine. User code may end it with runtime.Goexit; then
// a successor takes the lane over as it is, still active.
func (l *lane[T]) Run() {
	done := false
	defer func() {
		if !done {
			go l.run()
		}
	}()
	l.serve()
	done = true
}

func (l *lane[T]) laneNode() *laneNode { return &l.node }
func (l *lane[T]) role() string        { return "a handler" }

func (l *lane[T]) serve() {
	if l.attempts != nil { // a predecessor was ended in the middle of it
		l.attempts.finish()
	}
	for {
		if l.state.Load() == laneSignaled {
			l.state.Store(laneActive) // whatever the signal was about is seen below
		}
		out := l.batch()
		switch out {
		case again:
			continue
		case closing:
			l.close()
			return
		case ranDry, resting, lingering:
		}
		if out == ranDry {
			l.ranDry()
		}
		if out == ranDry && l.spin() {
			continue
		}
		if l.hasPointers && l.box.Shared() {
			l.cfg.owner.reclaim()
		}
		to := laneIdle
		switch out {
		case resting:
			to = laneResting
		case lingering:
			to = laneLingering
		default:
		}
		if !l.state.CompareAndSwap(laneActive, to) {
			continue // signaled
		}
		if out == ranDry && l.ready() && l.state.CompareAndSwap(laneIdle, laneActive) {
			continue
		}
		if out == lingering && l.attempts.full() && l.state.CompareAndSwap(laneLingering, laneActive) {
			continue
		}
		l.core.changes.Notify()
		return
	}
}

// ranDry does what is to be done only then.
func (l *lane[T]) ranDry() {
	ctl := l.ctl.Load()
	if ctl&ctlReattach != 0 {
		l.cfg.owner.reattach()
	}
	if ctl&ctlReplaced != 0 {
		l.cfg.owner.retire()
	}
}

// spin gives way a few times in case another event is about to come. A lane for
// which that was in vain several times in a row does it rarely, until it helps
// again: among thousands of topics a yield costs more than starting a goroutine.
func (l *lane[T]) spin() bool {
	if l.vainSpins >= maxVainSpins {
		l.vainSpins++
		if l.vainSpins < maxVainSpins+spinAgain {
			return false
		}
		l.vainSpins = maxVainSpins
	}
	for range idleYields {
		if l.core.runQueue.HasWork() {
			return false // others have something to do
		}
		runtime.Gosched()
		if l.state.Load() != laneActive || l.ready() {
			l.vainSpins = 0
			return true
		}
	}
	l.vainSpins++
	return false
}

// ready tells whether an event could be taken.
func (l *lane[T]) ready() bool {
	return l.overflowing() || l.box.Ready()
}

// taken is the position of the next event to be taken. For any goroutine.
func (l *lane[T]) taken() uint64 { return l.box.Taken() }

// full tells whether the lane's own mailbox has no room. One that drops its oldest
// event always has.
func (l *lane[T]) full() bool { return l.box.Full(l.capacity) }

// countReplaced counts an event that a newer one of its key took the place of, as KeepLatest is
// there for: nobody is to be told.
func (l *lane[T]) countReplaced() { l.dropped++ }

// runTimer has the hook's tick called on the lane's goroutine.
func (l *lane[T]) runTimer() {
	l.timerFired.Store(true)
	l.signal()
}

// close ends the lane: what waits is abandoned.
func (l *lane[T]) close() {
	l.releaseAll()
	if a := l.cfg.hook; a != nil {
		a.onEnd(l.index)
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.box.Release()
	if l.attempts != nil && l.attempts.timer != nil {
		l.attempts.timer.Stop()
	}
	l.state.Store(laneClosed)
	l.cfg.owner.laneClosed()
}
