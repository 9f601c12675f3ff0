package consumer

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/transport"
)

// Bounds of what is gathered for one commit, and of what is fetched at once.
const (
	commitEvents = 256
	commitAfter  = 10 * time.Millisecond
	fetchEvents  = 512
	fetchBytes   = 4 << 20
)

// States of a lease.
const (
	leaseLive      uint32 = iota
	leaseReturning        // it is to be released: nothing is started any more
	leaseLost             // it has ended
)

// lease is the right to one partition, or a range of it, and what is under way of it.
type lease struct {
	c     *Consumer
	id    transport.Lease
	state atomic.Uint32

	mu         sync.Mutex
	window     window // of a lease of a whole partition
	next       uint64 // the offset at which fetching goes on
	suspects   []uint64
	recovering bool // there were suspects, and not all of them have an outcome in the log
	adopted    bool // the target has what is deferred: nothing is fetched before
	mayFetch   bool // there may be something to fetch
	starved    bool // it did not fetch, as there was no room
	blocked    bool // fetching waits for a commit, which moves the window
	delivered  int  // events that lanes have, which are not settled or deferred
	bytes      int  // of those
	held       int  // events that are deferred
	started    int  // events of which an attempt has begun that has no outcome
	pinned     int  // see Pin

	commit    transport.Commit // that gathers
	gathered  int
	counters  []Counter // of the events in commit
	deriving  []*Event  // of those, the ones within which something was published
	derived   int       // how many bytes that is
	since     time.Time // when it began to gather
	urgent    bool
	number    uint64 // of the commit that gathers
	committed uint64 // all before this number are in the log
	timer     *time.Timer
	settling  backoff // of Commit and Release
	reading   backoff // of Fetch

	scheduled bool // it is on the reader's queue, or a worker has it
	working   bool // a worker has it
	again     bool // something changed while a worker has it
	ending    bool // no worker may have it any more
	release   bool // it is to be released once nothing is under way
	ended     bool // released or lost, and nothing is to be done any more

	committing signal.Broadcast
}

func newLease(c *Consumer, id transport.Lease, st transport.LeaseState) *lease {
	l := &lease{c: c, id: id, number: 1, committed: 1}
	l.next, l.suspects = st.Low, slices.Clone(st.Suspects)
	l.recovering = len(l.suspects) > 0
	if !id.Whole() {
		l.next = max(id.From, st.Low)
		return l
	}
	l.window = newWindow(st.Low, cmp.Or(st.Window, transport.DefaultWindow))
	for _, offset := range st.Acked {
		l.window.settle(offset)
	}
	return l
}

// changedLocked has a worker look after l.
func (l *lease) changedLocked() {
	if l.ended {
		return
	}
	if l.scheduled {
		l.again = true
		return
	}
	l.scheduled = true
	l.c.reader.schedule(l)
}

// busy reports whether anything is under way.
func (l *lease) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.ended && (l.scheduled || l.delivered > 0 || l.gathered > 0 || len(l.suspects) > 0)
}

// wake says that there may be something to fetch.
func (l *lease) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mayFetch = true
	l.changedLocked()
}

// fetchFromNowOn says that the target has all that is deferred.
func (l *lease) fetchFromNowOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adopted, l.mayFetch = true, true
	l.changedLocked()
}

// roomCame is called when there is room in the lanes again.
func (l *lease) roomCame() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.starved {
		l.starved, l.mayFetch = false, true
		l.changedLocked()
	}
}

// deliveredLocked counts an event that a lane is given.
func (l *lease) deliveredLocked(e *Event) {
	l.delivered++
	l.bytes += e.bytes
	l.c.outstanding.Add(1)
}

// doneLocked undoes deliveredLocked.
func (l *lease) doneLocked(e *Event) {
	l.delivered--
	l.bytes -= e.bytes
	l.c.outstanding.Add(-1)
}

// endedLocked says that the attempt at e has ended, if one had begun.
func (l *lease) endedLocked(e *Event) {
	if e.started {
		e.started = false
		l.started--
	}
}

// outLocked takes e out of what the lanes have.
func (l *lease) outLocked(e *Event) {
	l.endedLocked(e)
	if e.held {
		e.held = false
		l.held--
	} else {
		l.doneLocked(e)
	}
}

// settle enters an outcome of e in the commit that gathers.
func (l *lease) settle(e *Event, enter func(*transport.Commit), urgent bool) {
	l.mu.Lock()
	l.outLocked(e)
	if l.state.Load() != leaseLost {
		enter(&l.commit)
		if e.counter != nil {
			l.counters = append(l.counters, e.counter)
		}
		if len(e.derived.batches) > 0 {
			l.deriving = append(l.deriving, e)
			l.derived += e.derived.bytes
		}
		l.gatheredLocked(urgent || l.derived >= derivedBytes)
	}
	l.mu.Unlock()
	l.c.roomCame()
}

// deferEvent enters a deferral of e in the commit that gathers.
func (l *lease) deferEvent(e *Event, d transport.Deferral) {
	l.mu.Lock()
	l.endedLocked(e)
	if !e.held {
		e.held = true
		l.held++
		l.doneLocked(e)
	}
	if l.state.Load() != leaseLost {
		l.commit.Deferred = append(l.commit.Deferred, d)
		e.deferredIn = l.number
		l.gatheredLocked(true)
	}
	l.mu.Unlock()
	l.c.roomCame()
}

// gatheredLocked sees to it that the commit that gathers is made in time.
func (l *lease) gatheredLocked(urgent bool) {
	if l.gathered++; l.gathered == 1 {
		l.since = time.Now()
	}
	l.urgent = l.urgent || urgent
	switch {
	case l.commitDueLocked():
		l.changedLocked()
	case l.gathered == 1:
		l.lookLaterLocked(commitAfter)
	}
}

// lookLaterLocked has a worker look after l when d has passed.
func (l *lease) lookLaterLocked(d time.Duration) {
	if l.timer == nil {
		l.timer = time.AfterFunc(d, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.changedLocked()
		})
		return
	}
	l.timer.Reset(d)
}

// commitDueLocked reports whether the commit that gathers is to be made: there is enough of it, or it
// has waited long enough, or nothing more is under way.
func (l *lease) commitDueLocked() bool {
	switch {
	case l.gathered == 0, l.settling.waits():
		return false
	case l.urgent, l.gathered >= commitEvents, l.release, l.delivered == 0:
		return true
	}
	return time.Since(l.since) >= commitAfter
}

// giveBack takes back an event that was not settled.
func (l *lease) giveBack(e *Event) {
	l.mu.Lock()
	held := e.held
	l.outLocked(e)
	live := l.state.Load() == leaseLive
	l.changedLocked()
	l.mu.Unlock()
	l.c.roomCame()
	if live {
		l.redeliver(e, held)
	}
}

// trimmed forgets an event that the log no longer has.
func (l *lease) trimmed(e *Event) {
	l.untaken(e)
	l.c.roomCame()
}

// redeliver gives an event to whoever is there to take it now, if anybody is: it was delivered before
// others that have arrived since, so it must not stand behind them.
func (l *lease) redeliver(e *Event, held bool) {
	target := l.c.cfg.Target
	l.mu.Lock()
	if l.state.Load() != leaseLive {
		l.mu.Unlock()
		return
	}
	if held {
		e.held = true
		l.held++
	} else {
		l.deliveredLocked(e)
	}
	l.mu.Unlock()
	if !target.Adopt(e) {
		l.untaken(e)
	}
}

// untaken undoes the count of an event that nobody took: the last subscription has left, and the next
// holder of the lease will get it.
func (l *lease) untaken(e *Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outLocked(e)
	l.changedLocked()
}

// over reports whether an error of the log ends a lease.
func over(err error) bool {
	return errguard.Is(err, transport.ErrFenced) || errguard.Is(err, transport.ErrClosed)
}

// lost ends the lease: nothing of it can be settled any more.
func (l *lease) lost(err error) {
	if !errguard.Is(err, transport.ErrFenced) { // the log was closed, or is not to be told
		err = fmt.Errorf("%w: %w", transport.ErrFenced, err)
		l.c.broke(err)
	}
	l.mu.Lock()
	was := l.state.Swap(leaseLost) == leaseLost
	l.ended = true
	l.commit, l.gathered, l.counters, l.deriving, l.derived = transport.Commit{}, 0, nil, nil, 0
	l.suspects = nil
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.committing.Notify()
	if was {
		return
	}
	l.c.forget(l)
	l.c.cfg.Target.Lost(l, err)
}
