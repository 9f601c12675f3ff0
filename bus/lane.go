package bus

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/internal/mailbox"
	"github.com/shardbus/shardbus/transport"
)

// States of a lane.
const (
	laneIdle      uint32 = iota // no goroutine; an arriving event starts one
	laneActive                  // a goroutine runs
	lanePoked                   // a goroutine runs, and must look again before it ends
	laneResting                 // no goroutine; only poke starts one: paused, or parking is full
	laneLingering               // no goroutine; poke starts one, and the event that makes a batch full
	laneClosed                  // no goroutine, for good
)

// cacheLine is the size of a cache line, or more.
const cacheLine = 64

// idleYields is how often a lane that ran dry gives way before its goroutine
// ends: a new event is often already on its way.
const idleYields = 4

// futileSpins is after how many vain attempts in a row a lane gives way only
// every spinAgain-th time.
const (
	futileSpins = 4
	spinAgain   = 16
)

// laneNode is a lane as others see it without knowing its type, or a call of OnGap.
type laneNode struct {
	sub   *Subscription
	taken func() uint64        // how far in its log it is; nil of a call of OnGap
	waits atomic.Pointer[edge] // what its handler waits for, if it does
}

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
	sub      *subscription[T]
	run      func() // the lane on a goroutine of its own; made once so that starting it allocates nothing
	index    int
	capacity int // of the mailbox

	// Read by publishers and for each event, hardly ever written.
	state   atomic.Uint32
	lossy   bool // DropOldest, KeepLatest: the mailbox is mu.box, and reader is not used
	special bool // it has an attendant or is in a group
	remote  bool // it has an inbox
	crew    *crew
	ctl     *atomic.Uint32 // the subscription's
	handler Handler        // the subscription's
	ctx     context.Context
	lot     *lot[T] // where events are handled in batches, else nil
	wait    waitList

	// Publishers' own, under the intake's lock.
	log      *mailbox.Log[cell[T]] // its own mailbox; nil while it reads the topic's log
	start    uint64                // where in a log it began
	accepted uint64                // of what does not stand in a log: dropped, in the inbox, or lossy
	dropped  uint64
	inbox    mailbox.Ring[*transport.Envelope]
	overflow atomic.Int64 // inbox.Len(), readable by the lane

	// The goroutine's own.
	_       [8]byte // to the next line
	reader  mailbox.Reader[cell[T]]
	current *cell[T]  // being handled; nil between events
	judged  *judgment // what became of current, while that is being carried out
	sample  sampling
	inBatch bool        // false again when a batch ended by itself
	keeps   bool        // events may keep other memory alive
	futile  uint8       // how often in a row it gave way in vain
	due     atomic.Bool // the timer fired
	d       Delivery

	mu struct {
		sync.Mutex
		parking  parking[T]
		box      lossy[T]
		retrying bool // a parked delivery runs
		settling bool // an attempt failed, and what comes of that is being carried out
		tell     bool // the watch for slow handlers is to be told of the next start
		inHand   int  // events of the lot
		// cut says that what waited was abandoned: of a log all from the position cutAt on,
		// and whatever is parked. See abandon.go.
		cut   bool
		cutAt uint64
		// firstInHand is the number of the first of them in the order in which they
		// entered; noneInHand if they come out of the parking.
		firstInHand uint64
		base        uint64
		handled     uint64 // of what was taken before base, and of what was parked
		discarded   uint64
		dead        uint64
		abandoned   uint64
		failed      uint64
		retried     uint64
		snoozed     uint64
		panicked    uint64
		slow        uint64
		retry       *parkedKey[T] // the one of retrying, where events are handled one by one
	}
	group *parkedKey[T] // that current belongs to, when it was parked
	slot  cell[T]       // where items of mu.box are handled
	timer *time.Timer   // for the parked keys
	chore atomic.Bool   // the attendant's timer fired
	high  atomic.Int64  // the most events seen in the mailbox
}

// newLane makes a lane that reads the topic's log, or, if that is nil, has a
// mailbox of its own.
func newLane[T any](s *subscription[T], index int, log *mailbox.Log[cell[T]]) *lane[T] {
	l := &lane[T]{
		sub: s, index: index, crew: &s.bus.crew, ctl: &s.ctl, handler: s.handler,
		special: s.attendant != nil || s.group != nil, remote: s.inbox != nil,
		capacity: s.opts.capacity, lossy: s.opts.policy.lossy(), keeps: s.topic.keeps,
	}
	l.node.sub = &s.Subscription
	l.run, l.node.taken = func() { l.crew.runAlone(l) }, l.taken
	l.wait.wakeAt.Store(noWaiter)
	l.ctx = &laneContext{Context: s.context(), node: &l.node}
	l.d.info, l.d.sub, l.d.lane = s.info, s.name, int32(index)
	if s.batch != nil {
		l.lot = &lot[T]{lane: l}
	}
	if s.opts.policy == KeepLatest {
		l.mu.box.latest = new(mailbox.Latest[cell[T]])
	}
	if l.lossy {
		return l
	}
	if log == nil {
		l.log = mailbox.NewLog[cell[T]](0)
		log = l.log
	}
	l.reader.Join(log, l.keeps)
	l.start = log.PutCount()
	l.mu.base = l.start
	return l
}

// wake starts the lane after an event was committed. The lane looks for events
// once more after it became idle, so an event is seen by one or the other.
func (l *lane[T]) wake() {
	if s := l.state.Load(); s != laneActive {
		l.rouse(s)
	}
}

// rouse is wake for a lane that was found in state s, not active.
func (l *lane[T]) rouse(s uint32) {
	if s == laneIdle || s == laneLingering && l.lot.full() {
		if l.state.CompareAndSwap(s, laneActive) {
			l.crew.run(l)
		}
	}
}

// poke has the lane look again whatever its state: something other than an
// arriving event changed.
func (l *lane[T]) poke() {
	for {
		switch s := l.state.Load(); s {
		case laneIdle, laneResting, laneLingering:
			if l.state.CompareAndSwap(s, laneActive) {
				go l.run()
				return
			}
		case laneActive:
			if l.state.CompareAndSwap(laneActive, lanePoked) {
				return
			}
		default:
			return
		}
	}
}

// outcome is how a batch ended.
type outcome uint8

const (
	ranDry    outcome = iota // no event is ready
	again                    // a panic ended it; there may be more
	resting                  // it must not go on: paused, or parking is full
	lingering                // events wait for more to make a batch
	closing                  // the subscription ends
)

// work is the lane's goroutine. User code may end it with runtime.Goexit; then
// a successor takes the lane over as it is, still active.
func (l *lane[T]) work() {
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

func (l *lane[T]) serve() {
	if l.judged != nil { // a predecessor was ended in the middle of it
		l.settle(nil)
	}
	if l.lot != nil && len(l.lot.items) > 0 { // likewise
		l.lot.settle()
	}
	for {
		if l.state.Load() == lanePoked {
			l.state.Store(laneActive) // whatever the poke was about is seen below
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
		if out == ranDry && l.ctl.Load()&ctlReturn != 0 {
			l.returnToLog()
		}
		if out == ranDry && l.spin() {
			continue
		}
		if l.keeps && !l.lossy && l.reader.Shared() {
			l.sub.topic.intake.sweep()
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
			continue // poked
		}
		if out == ranDry && l.ready() && l.state.CompareAndSwap(laneIdle, laneActive) {
			continue
		}
		if out == lingering && l.lot.full() && l.state.CompareAndSwap(laneLingering, laneActive) {
			continue
		}
		l.sub.bus.settled.notify()
		return
	}
}

// spin gives way a few times in case another event is about to come. A lane for
// which that was in vain several times in a row does it rarely, until it helps
// again: among thousands of topics a yield costs more than starting a goroutine.
func (l *lane[T]) spin() bool {
	if l.futile >= futileSpins {
		l.futile++
		if l.futile < futileSpins+spinAgain {
			return false
		}
		l.futile = futileSpins
	}
	for range idleYields {
		if l.crew.manned.Load() {
			return false // others have something to do
		}
		runtime.Gosched()
		if l.state.Load() != laneActive || l.ready() {
			l.futile = 0
			return true
		}
	}
	l.futile++
	return false
}

// ready tells whether an event could be taken.
func (l *lane[T]) ready() bool {
	if l.overflowing() {
		return true
	}
	if l.lossy {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.mu.box.len() > 0
	}
	return l.reader.Ready()
}

// taken is the position of the next event to be taken. For any goroutine.
func (l *lane[T]) taken() uint64 { return l.reader.Taken() }

// doChore has the attendant's tick called on the lane's goroutine.
func (l *lane[T]) doChore() {
	l.chore.Store(true)
	l.poke()
}

// close ends the lane: what waits is abandoned.
func (l *lane[T]) close() {
	l.letGo()
	if a := l.sub.attendant; a != nil {
		a.end(l.index)
	}
	if l.timer != nil {
		l.timer.Stop()
	}
	l.reader.Release()
	if l.lot != nil && l.lot.timer != nil {
		l.lot.timer.Stop()
	}
	l.state.Store(laneClosed)
	l.sub.laneClosed()
}
