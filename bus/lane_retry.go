package bus

import (
	"container/heap"
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/internal/ring"
)

// retryQueue is where a lane keeps what waits for another attempt: each key with
// the failed event and those that came behind it, each event without a key by
// itself. It knows no clock. The lane's lock covers it; only the lane's
// goroutine changes it.
type retryQueue[T any] struct {
	n     int // events that wait; the one being run again does not
	byKey map[string]*retryKey[T]
	heap  dueHeap[T]
	seq   uint64
}

// retryKey is one key that waits. first is the event to be attempted next,
// behind are those of the same key after it.
type retryKey[T any] struct {
	key     string // "" stands for an event without a key
	first   cell[T]
	n       uint64 // number of first in order of arrival at the lane
	attempt int    // of first, when it runs
	due     time.Time
	seq     uint64 // order among equal dues
	behind  ring.Ring[retryEvent[T]]
	recheck time.Duration // not 0: first awaits another member of the group, and is next looked at so much later
}

// retryEvent is an event behind the first of its key.
type retryEvent[T any] struct {
	c       cell[T]
	n       uint64 // its number in order of arrival at the lane
	attempt int    // when it runs
	recheck time.Duration
}

// deferEvent sets key aside with c, whose given attempt is due then.
func (p *retryQueue[T]) deferEvent(key string, c *cell[T], n uint64, attempt int, due time.Time) {
	g := &retryKey[T]{key: key, n: n}
	if key != "" {
		if p.byKey == nil {
			p.byKey = make(map[string]*retryKey[T])
		}
		p.byKey[key] = g
	}
	p.again(g, c, attempt, due)
}

// again has c, which was g's first, wait once more.
func (p *retryQueue[T]) again(g *retryKey[T], c *cell[T], attempt int, due time.Time) {
	if c != &g.first {
		g.first = *c
	}
	p.n++
	p.push(g, attempt, due)
}

func (p *retryQueue[T]) push(g *retryKey[T], attempt int, due time.Time) {
	p.seq++
	g.attempt, g.due, g.seq = attempt, due, p.seq
	heap.Push(&p.heap, g)
}

// behind has e wait behind its key, and reports whether that is deferred.
func (p *retryQueue[T]) behind(key string, e retryEvent[T]) bool {
	g := p.find(key)
	if g == nil {
		return false
	}
	g.behind.Push(&e)
	p.n++
	return true
}

// find is the key if it is deferred, else nil.
func (p *retryQueue[T]) find(key string) *retryKey[T] {
	if key == "" {
		return nil // events without a key are not in byKey
	}
	return p.byKey[key]
}

// mayFollow tells whether the event next behind g may be run together with first.
func (g *retryKey[T]) mayFollow() bool {
	next := g.behind.Peek()
	return next.attempt == 1 && next.recheck == 0
}

// replaceBehind puts *c in the place of the one event behind g that was never
// attempted, and that one into *c, and reports whether there is such a one.
func (g *retryKey[T]) replaceBehind(c *cell[T], n uint64, blocked bool) bool {
	if g.behind.Len() != 1 || g.behind.Peek().attempt != 1 {
		return false
	}
	old := g.behind.Peek()
	old.c, *c = *c, old.c
	if old.n = n; blocked {
		old.recheck = firstRecheck
	}
	return true
}

// pop takes out the key that is due first, to run its first event, or nil when
// none is due by now.
func (p *retryQueue[T]) pop(now time.Time) *retryKey[T] {
	if len(p.heap) == 0 || p.heap[0].due.After(now) {
		return nil
	}
	p.n--
	return heap.Pop(&p.heap).(*retryKey[T])
}

// next says that g's first is settled: those behind it follow at once, or the
// key is free.
func (p *retryQueue[T]) next(g *retryKey[T]) {
	var next retryEvent[T]
	if !g.behind.Pop(&next) {
		g.first = cell[T]{}
		delete(p.byKey, g.key)
		return
	}
	g.first, g.n, g.recheck = next.c, next.n, next.recheck
	p.push(g, next.attempt, time.Time{})
}

// nextDue is when something is due.
func (p *retryQueue[T]) nextDue() (time.Time, bool) {
	if len(p.heap) == 0 {
		return time.Time{}, false
	}
	return p.heap[0].due, true
}

// each calls f with every event that waits.
func (p *retryQueue[T]) each(f func(c *cell[T])) {
	for _, g := range p.heap {
		f(&g.first)
	}
	for _, g := range p.byKey { // the one that is being run is not in the heap
		g.behind.Each(func(e *retryEvent[T]) { f(&e.c) })
	}
}

// clear forgets everything, gives each event to f first, and returns how many
// they were.
func (p *retryQueue[T]) clear(f func(c *cell[T])) int {
	n := p.n
	p.each(f)
	*p = retryQueue[T]{}
	return n
}

// dueHeap orders deferred keys by when they are due.
type dueHeap[T any] []*retryKey[T]

func (h dueHeap[T]) Len() int { return len(h) }
func (h dueHeap[T]) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].seq < h[j].seq
}
func (h dueHeap[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap[T]) Push(x any)   { *h = append(*h, x.(*retryKey[T])) }
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

// deferBehind has c, just taken, wait behind its key if that is deferred, or if
// another member of the group has not done with it.
func (l *lane[T]) deferBehind(c *cell[T]) bool {
	if l.mu.retries.n == 0 && !l.sub.group.keys.Moving() {
		return false
	}
	l.current = c
	l.view(c, 1)
	key, err := l.key()
	if err != nil {
		return false // the handler's attempt will meet it in its turn
	}
	n := l.lastTakenNumber()
	blocked := l.mustWait(key, n)
	l.lockRetries()
	deferred, tell := l.deferIfKeyWaitsLocked(key, c, n, blocked)
	if !deferred && blocked {
		l.deferBlockedLocked(key, c, n, time.Now())
		deferred = true
	}
	if deferred {
		l.foldLocked()
		l.current = nil
	}
	l.unlockRetries(tell)
	if blocked {
		l.armTimer()
	}
	return deferred
}

// lockRetries takes the lane's lock, and with KeepLatest the fan-out's before it,
// since what falls in may give up another event.
func (l *lane[T]) lockRetries() {
	if l.mu.box.latest != nil {
		l.sub.topic.fanout.mu.Lock()
	}
	l.mu.Lock()
}

// unlockRetries undoes lockRetries, and tells of drops.
func (l *lane[T]) unlockRetries(tell bool) {
	l.mu.Unlock()
	if l.mu.box.latest != nil {
		l.sub.topic.fanout.mu.Unlock()
	}
	if tell {
		l.sub.topic.fanout.reportDrops()
	}
}

// deferIfKeyWaitsLocked has c wait behind its key if that is deferred. With KeepLatest an
// event that waits there gives way to c, as in the mailbox: else a key that waits
// long would fill the retry queue with what is stale. tell says that drops are to be
// told; n is c's number in order of arrival, and await that it awaits another member
// of the group.
func (l *lane[T]) deferIfKeyWaitsLocked(key string, c *cell[T], n uint64, blocked bool) (deferred, tell bool) {
	g := l.mu.retries.find(key)
	switch {
	case g == nil:
		return false, false
	case l.mu.box.latest != nil && g.replaceBehind(c, n, blocked):
		l.countReplaced()
		l.sub.failAsker(*c, ErrMailboxFull)
	default:
		e := retryEvent[T]{c: *c, n: n, attempt: 1}
		if blocked {
			e.recheck = firstRecheck
		}
		l.mu.retries.behind(key, e)
	}
	return true, tell
}

// runRetry runs the deferred event that is due first, and reports whether there
// was one.
func (l *lane[T]) runRetry() bool {
	l.due.Store(false) // before looking: what fires from here on is seen again
	l.rest()
	now := time.Now()
	l.mu.Lock()
	var g *retryKey[T]
	if !l.mu.closed {
		g = l.mu.retries.pop(now)
	}
	l.mu.retrying, l.mu.retry = g != nil, g
	l.startsLocked()
	l.mu.Unlock()
	if g == nil {
		l.armTimer()
		return l.due.Load() // it may just have become due
	}
	l.due.Store(true) // there may be more
	if l.keyBlocked(g) {
		return true
	}
	l.current, l.group = &g.first, g
	l.view(&g.first, g.attempt)
	if err := l.handler(l.ctx, &l.d); err != nil {
		l.finishFailed(err)
		return true
	}
	l.current, l.group = nil, nil
	l.mu.Lock()
	l.mu.retrying, l.mu.retry = false, nil
	l.mu.handled++
	l.mu.retries.next(g)
	l.mu.Unlock()
	return true
}

// armTimer has the lane signaled when the next deferred key is due.
func (l *lane[T]) armTimer() {
	due, ok := l.mu.retries.nextDue()
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
			l.signal()
		})
	default:
		l.timer.Reset(wait)
	}
}
