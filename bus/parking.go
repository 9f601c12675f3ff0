package bus

import (
	"container/heap"
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/internal/mailbox"
)

// parking is where a lane keeps what waits for another attempt: each key with
// the failed event and those that came behind it, each event without a key by
// itself. It knows no clock. The lane's lock covers it; only the lane's
// goroutine changes it.
type parking[T any] struct {
	n     int // events that wait; the one being run again does not
	byKey map[string]*parkedKey[T]
	heap  dueHeap[T]
	seq   uint64
}

// parkedKey is one key that waits. first is the event to be attempted next,
// behind are those of the same key after it.
type parkedKey[T any] struct {
	key     string // "" stands for an event without a key
	first   cell[T]
	n       uint64 // number of first in order of arrival at the lane
	attempt int    // of first, when it runs
	due     time.Time
	seq     uint64 // order among equal dues
	behind  mailbox.Ring[parkedEvent[T]]
	await   time.Duration // not 0: first awaits another member of the group, and is next looked at so much later
}

// parkedEvent is an event behind the first of its key.
type parkedEvent[T any] struct {
	c       cell[T]
	n       uint64 // its number in order of arrival at the lane
	attempt int    // when it runs
	await   time.Duration
}

// park sets key aside with c, whose given attempt is due then.
func (p *parking[T]) park(key string, c *cell[T], n uint64, attempt int, due time.Time) {
	g := &parkedKey[T]{key: key, n: n}
	if key != "" {
		if p.byKey == nil {
			p.byKey = make(map[string]*parkedKey[T])
		}
		p.byKey[key] = g
	}
	p.again(g, c, attempt, due)
}

// again has c, which was g's first, wait once more.
func (p *parking[T]) again(g *parkedKey[T], c *cell[T], attempt int, due time.Time) {
	if c != &g.first {
		g.first = *c
	}
	p.n++
	p.push(g, attempt, due)
}

func (p *parking[T]) push(g *parkedKey[T], attempt int, due time.Time) {
	p.seq++
	g.attempt, g.due, g.seq = attempt, due, p.seq
	heap.Push(&p.heap, g)
}

// behind has e wait behind its key, and reports whether that is parked.
func (p *parking[T]) behind(key string, e parkedEvent[T]) bool {
	g := p.find(key)
	if g == nil {
		return false
	}
	g.behind.Push(&e)
	p.n++
	return true
}

// find is the key if it is parked, else nil.
func (p *parking[T]) find(key string) *parkedKey[T] {
	if key == "" {
		return nil // events without a key are not in byKey
	}
	return p.byKey[key]
}

// mayFollow tells whether the event next behind g may be run together with first.
func (g *parkedKey[T]) mayFollow() bool {
	next := g.behind.Peek()
	return next.attempt == 1 && next.await == 0
}

// replaceBehind puts *c in the place of the one event behind g that was never
// attempted, and that one into *c, and reports whether there is such a one.
func (g *parkedKey[T]) replaceBehind(c *cell[T], n uint64, await bool) bool {
	if g.behind.Len() != 1 || g.behind.Peek().attempt != 1 {
		return false
	}
	old := g.behind.Peek()
	old.c, *c = *c, old.c
	if old.n = n; await {
		old.await = firstAwait
	}
	return true
}

// pop takes out the key that is due first, to run its first event, or nil when
// none is due by now.
func (p *parking[T]) pop(now time.Time) *parkedKey[T] {
	if len(p.heap) == 0 || p.heap[0].due.After(now) {
		return nil
	}
	p.n--
	return heap.Pop(&p.heap).(*parkedKey[T])
}

// next says that g's first is settled: those behind it follow at once, or the
// key is free.
func (p *parking[T]) next(g *parkedKey[T]) {
	var next parkedEvent[T]
	if !g.behind.Pop(&next) {
		g.first = cell[T]{}
		delete(p.byKey, g.key)
		return
	}
	g.first, g.n, g.await = next.c, next.n, next.await
	p.push(g, next.attempt, time.Time{})
}

// nextDue is when something is due.
func (p *parking[T]) nextDue() (time.Time, bool) {
	if len(p.heap) == 0 {
		return time.Time{}, false
	}
	return p.heap[0].due, true
}

// each calls f with every event that waits.
func (p *parking[T]) each(f func(c *cell[T])) {
	for _, g := range p.heap {
		f(&g.first)
	}
	for _, g := range p.byKey { // the one that is being run is not in the heap
		g.behind.Each(func(e *parkedEvent[T]) { f(&e.c) })
	}
}

// clear forgets everything, gives each event to f first, and returns how many
// they were.
func (p *parking[T]) clear(f func(c *cell[T])) int {
	n := p.n
	p.each(f)
	*p = parking[T]{}
	return n
}

// dueHeap orders parked keys by when they are due.
type dueHeap[T any] []*parkedKey[T]

func (h dueHeap[T]) Len() int { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h dueHeap[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap[T]) Push(x any)   { *h = append(*h, x.(*parkedKey[T])) }
func (h *dueHeap[T]) Pop() any {
	old := *h
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return g
}

// key is the key of the current delivery. The Key function is the user's: its
// panic is returned.
func (l *lane[T]) key() (key string, err *PanicError) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return l.d.Key(), nil
}

// parkBehind has c, just taken, wait behind its key if that is parked, or if
// another member of the group has not done with it.
func (l *lane[T]) parkBehind(c *cell[T]) bool {
	if l.mu.parking.n == 0 && l.sub.group.moves.Load() == 0 {
		return false
	}
	l.current = c
	l.view(c, 1)
	key, err := l.key()
	if err != nil {
		return false // the handler's attempt will meet it in its turn
	}
	n := l.takenLast()
	await := l.mustAwait(key, n)
	l.lockParking()
	parked, tell := l.fallInLocked(key, c, n, await)
	if !parked && await {
		l.awaitLocked(key, c, n, time.Now())
		parked = true
	}
	if parked {
		l.foldLocked()
		l.current = nil
	}
	l.unlockParking(tell)
	if await {
		l.armTimer()
	}
	return parked
}

// lockParking takes the lane's lock, and with KeepLatest the intake's before it,
// since what falls in may give up another event.
func (l *lane[T]) lockParking() {
	if l.mu.box.latest != nil {
		l.sub.topic.intake.mu.Lock()
	}
	l.mu.Lock()
}

// unlockParking undoes lockParking, and tells of drops.
func (l *lane[T]) unlockParking(tell bool) {
	l.mu.Unlock()
	if l.mu.box.latest != nil {
		l.sub.topic.intake.mu.Unlock()
	}
	if tell {
		l.sub.topic.intake.reportDrops()
	}
}

// fallInLocked has c wait behind its key if that is parked. With KeepLatest an
// event that waits there gives way to c, as in the mailbox: else a key that waits
// long would fill the parking with what is stale. tell says that drops are to be
// told; n is c's number in order of arrival, and await that it awaits another member
// of the group.
func (l *lane[T]) fallInLocked(key string, c *cell[T], n uint64, await bool) (parked, tell bool) {
	g := l.mu.parking.find(key)
	switch {
	case g == nil:
		return false, false
	case l.mu.box.latest != nil && g.replaceBehind(c, n, await):
		l.countReplaced()
		l.sub.forsake(*c, ErrMailboxFull)
	default:
		e := parkedEvent[T]{c: *c, n: n, attempt: 1}
		if await {
			e.await = firstAwait
		}
		l.mu.parking.behind(key, e)
	}
	return true, tell
}

// runDue runs the parked event that is due first, and reports whether there
// was one.
func (l *lane[T]) runDue() bool {
	l.due.Store(false) // before looking: what fires from here on is seen again
	l.rest()
	now := time.Now()
	l.mu.Lock()
	var g *parkedKey[T]
	if !l.mu.cut {
		g = l.mu.parking.pop(now)
	}
	l.mu.retrying, l.mu.retry = g != nil, g
	l.startsLocked()
	l.mu.Unlock()
	if g == nil {
		l.armTimer()
		return l.due.Load() // it may just have become due
	}
	l.due.Store(true) // there may be more
	if l.awaiting(g) {
		return true
	}
	l.current, l.group = &g.first, g
	l.view(&g.first, g.attempt)
	if err := l.handler(l.ctx, &l.d); err != nil {
		l.settle(err)
		return true
	}
	l.current, l.group = nil, nil
	l.mu.Lock()
	l.mu.retrying, l.mu.retry = false, nil
	l.mu.handled++
	l.mu.parking.next(g)
	l.mu.Unlock()
	return true
}

// armTimer has the lane poked when the next parked key is due.
func (l *lane[T]) armTimer() {
	due, ok := l.mu.parking.nextDue()
	if !ok {
		return
	}
	wait := time.Until(due)
	switch {
	case wait <= 0:
		l.due.Store(true)
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, func() {
			l.due.Store(true)
			l.poke()
		})
	default:
		l.timer.Reset(wait)
	}
}
