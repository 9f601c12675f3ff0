package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// batchRun is the batch that a lane of a SubscribeBatch has in hand, or is about to take.
// Events wait for it in the mailbox, and are taken all at once; from then on they
// count as running until all are settled together. Only the lane's goroutine uses
// it, but for full.
type batchRun[T any] struct {
	lane     *lane[T]
	items    []batchItem[T]
	messages []Message[T] // of the items that entered
	handled  bool         // the handler was called

	until time.Time // when lingering ends; zero while it has not begun
	timer *time.Timer
}

// batchItem is one event of a batch.
type batchItem[T any] struct {
	cell     cell[T]
	d        Delivery
	n        uint64 // its number in order of arrival at the lane
	attempt  int
	group    *retryKey[T] // that it came from, when it was deferred
	index    int          // in messages, if it entered
	entered  bool
	tried    bool         // err is what became of its attempt
	result   error        // the handler's
	err      error        // its chain's
	disposed *disposition // of err, when that is known
	key      string       // when that is known
	kept     bool         // as a dead letter
}

// errNamed is the error of an event that a BatchError names without one.
var errNamed = errors.New("a BatchError names the event without an error")

// errBehind is why an event of a batch was not acknowledged with the others.
var errBehind = errors.New("an event of the same key, before it in the batch, failed")

// behind is the verdict on such an event.
func behind() error { return &Verdict{Action: ActionSnooze, Err: errBehind} }

// full tells whether a whole batch waits, or all that can. For any goroutine.
func (b *batchRun[T]) full() bool {
	l := b.lane
	return l.overflowing() || b.waiting() >= l.sub.opts.batchSize
}

// waiting is how many events the mailbox holds.
func (b *batchRun[T]) waiting() int {
	l := b.lane
	if !l.evicting {
		return l.reader.Waiting()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.box.len()
}

// handleReady is the lane's, for batches.
func (b *batchRun[T]) handleReady() outcome {
	l, s := b.lane, b.lane.sub
	retryTurn := true // of what is deferred and due; it alternates with what arrives
	for {
		if ctl := s.ctl.Load(); ctl&(ctlPaused|ctlClosing) != 0 {
			if ctl&ctlClosing != 0 {
				return closing
			}
			return resting
		}
		deferred := l.mu.retries.n // only this goroutine changes it
		if deferred > 0 {
			full := deferred >= s.opts.maxDeferred
			if (retryTurn || full) && l.due.Load() && b.takeRetries() {
				b.run()
				retryTurn = false
				continue
			}
			if full {
				return resting
			}
		}
		retryTurn = true
		l.refill()
		if b.mustLinger() {
			if l.mu.retries.n > 0 && l.due.Load() {
				continue
			}
			return lingering
		}
		if b.take(min(s.opts.batchSize, s.opts.maxDeferred-deferred)) {
			b.run()
			continue
		}
		if l.refill() || l.mu.retries.n > 0 && l.due.Load() {
			continue
		}
		return ranDry
	}
}

// mustLinger tells whether what waits is to wait for more, and sees to it that the
// lane looks again in time.
func (b *batchRun[T]) mustLinger() bool {
	l, s := b.lane, b.lane.sub
	if s.opts.linger == 0 || b.full() || s.ctl.Load()&ctlLeft != 0 || s.bus.state.Load() != stateOpen || b.waiting() == 0 {
		return false
	}
	now := time.Now()
	if b.until.IsZero() {
		b.until = now.Add(s.opts.linger)
	}
	wait := b.until.Sub(now)
	if wait <= 0 {
		return false
	}
	if b.timer == nil {
		b.timer = time.AfterFunc(wait, l.signal)
	} else {
		b.timer.Reset(wait)
	}
	return true
}

// take takes up to n events out of the mailbox, and reports whether there were any.
func (b *batchRun[T]) take(n int) bool {
	l := b.lane
	l.sampleDepth()
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return false
	}
	first := uint64(0) // as long as none has entered the mailbox
	for len(b.items) < n {
		c := b.nextLocked()
		if c == nil {
			break
		}
		b.items = append(b.items, batchItem[T]{cell: *c, n: l.lastTakenNumber(), attempt: 1})
		first = b.items[0].n
	}
	if l.evicting {
		l.mu.box.running = false
		l.slot = cell[T]{}
	} else {
		l.reader.Idle()
	}
	l.mu.base, _ = l.cursorLocked()
	l.mu.inHand, l.mu.firstInHand = len(b.items), first
	l.startsLocked()
	l.mu.Unlock()
	if len(b.items) == 0 {
		return false
	}
	if !l.evicting && l.reader.Position() >= l.wait.wakeAt.Load() {
		l.wakeWaiters()
	}
	b.until = time.Time{}
	if linger := l.sub.opts.linger; linger > 0 && b.waiting() > 0 {
		b.until = time.Now().Add(linger) // the next batch has begun
	}
	if l.mu.retries.n > 0 || l.sub.group != nil {
		b.deferBlocked()
	}
	return true
}

// noneInHand stands for the number of an event that came out of the retry queue.
const noneInHand = math.MaxUint64

// lastTakenNumber is the number of the event taken last in order of arrival, the lane's
// lock being held.
func (l *lane[T]) lastTakenNumber() uint64 {
	if l.evicting {
		return l.mu.box.lastTaken
	}
	return l.reader.Position()
}

func (b *batchRun[T]) nextLocked() *cell[T] {
	l := b.lane
	if !l.evicting {
		return l.reader.Next()
	}
	if !l.mu.box.take(&l.slot) {
		return nil
	}
	return &l.slot
}

// deferBlocked has the events just taken whose key is deferred wait behind it, and those
// whose key another member of the group has not done with.
func (b *batchRun[T]) deferBlocked() {
	l := b.lane
	if l.mu.retries.n == 0 && l.sub.group.pendingMoves.Load() == 0 {
		return
	}
	b.open()
	blocked := make([]bool, len(b.items))
	for i := range b.items {
		it := &b.items[i]
		b.findKey(it)
		blocked[i] = l.mustWait(it.key, it.n)
	}
	now := time.Now()
	l.lockRetries()
	kept, tellAny := b.items[:0], false
	for i := range b.items {
		it := &b.items[i]
		deferred, tell := l.deferIfKeyWaitsLocked(it.key, &it.cell, it.n, blocked[i])
		tellAny = tellAny || tell
		switch {
		case deferred:
		case blocked[i]:
			l.deferBlockedLocked(it.key, &it.cell, it.n, now)
		default:
			kept = append(kept, *it)
		}
	}
	if l.mu.retries.n > 0 {
		defer l.armTimer()
	}
	clear(b.items[len(kept):])
	b.items = kept
	l.mu.inHand = len(kept)
	l.unlockRetries(tellAny)
}

// takeRetries takes the deferred events that are due, and reports whether there were
// any. Of a key it takes the first event, and with one that was never attempted
// those of the same kind behind it: what failed before is tried again by itself,
// as far as its key goes.
func (b *batchRun[T]) takeRetries() bool {
	l := b.lane
	l.due.Store(false) // before looking: what fires from here on is seen again
	now := time.Now()
	n := l.sub.opts.batchSize
	l.mu.Lock()
	l.mu.firstInHand = noneInHand
	for len(b.items) < n && !l.mu.closed {
		g := l.mu.retries.pop(now)
		if g == nil {
			break
		}
		if g.recheck > 0 {
			l.mu.retrying = true
			l.mu.inHand = len(b.items)
			l.mu.Unlock()
			waits := l.keyBlocked(g)
			l.mu.Lock()
			if l.mu.retrying = false; waits {
				continue
			}
		}
		b.items = append(b.items, batchItem[T]{cell: g.first, n: g.n, attempt: g.attempt, group: g, key: g.key})
		for g.attempt == 1 && len(b.items) < n && g.behind.Len() > 0 && g.mayFollow() && !l.mu.closed {
			var e retryEvent[T]
			g.behind.Pop(&e)
			l.mu.retries.n--
			b.items = append(b.items, batchItem[T]{cell: e.c, n: e.n, attempt: 1, group: g, key: g.key})
		}
	}
	l.mu.inHand = len(b.items)
	l.startsLocked()
	l.mu.Unlock()
	if len(b.items) == 0 {
		l.armTimer()
		return false
	}
	l.due.Store(true) // there may be more
	return true
}

// open makes a Delivery of each item.
func (b *batchRun[T]) open() {
	for i := range b.items {
		it := &b.items[i]
		c := &it.cell
		it.d = b.lane.d
		it.d.head, it.d.value, it.d.attempt = &c.head, &c.v, it.attempt
		it.d.batch, it.d.place = b, int32(i)
		if it.d.encoded = c.seq == 0; it.d.encoded {
			var zero T
			c.v = zero // what the last attempt decoded
		}
	}
}

// findKey computes the key of an item, where none is known. The Key function is the
// user's: one that panics here will do so in the attempt.
func (b *batchRun[T]) findKey(it *batchItem[T]) {
	if it.key != "" {
		return
	}
	defer func() {
		if r := recover(); r != nil {
			it.key = ""
		}
	}()
	it.key = it.d.Key()
}

// run runs an attempt at the batch and settles it.
func (b *batchRun[T]) run() {
	if len(b.items) == 0 {
		return // all were set aside
	}
	b.open()
	b.handled = false
	start := time.Now()
	ctx := b.lane.ctx
	if s := b.lane.sub; !s.plain || s.bus.cfg.Debug {
		b.attemptFrom(ctx, 0)
	} else {
		for i := range b.items {
			it := &b.items[i]
			if it.err = b.admit(it); it.err != nil {
				it.tried = true
			}
		}
		b.handle(ctx)
		for i := range b.items {
			it := &b.items[i]
			if it.entered {
				it.err, it.tried = it.result, true
			}
		}
	}
	b.lane.sub.measured().add(time.Since(start))
	b.finish()
}

// attemptFrom runs the chains of the items from the i-th on, each inside the one
// before it if that entered the batch, and in the last one the handler.
func (b *batchRun[T]) attemptFrom(ctx context.Context, i int) {
	for ; i < len(b.items); i++ {
		it := &b.items[i]
		if b.mustFollow(i) {
			it.err = behind()
		} else {
			it.err = b.attempt(ctx, it)
		}
		it.tried = true
		if it.entered {
			return
		}
	}
	if !b.handled {
		b.handle(ctx)
	}
}

// mustFollow tells whether an item before the i-th, of its key, was turned away
// from the batch and comes again.
func (b *batchRun[T]) mustFollow(i int) bool {
	it := &b.items[i]
	for j := range i {
		before := &b.items[j]
		if before.entered || before.err == nil {
			continue
		}
		b.dispose(before)
		if !before.disposed.again() {
			continue
		}
		b.findKey(it)
		if it.key != "" && it.key == before.key {
			return true
		}
	}
	return false
}

// attempt runs the chain of one item. A panic of a middleware is its failure alone.
func (b *batchRun[T]) attempt(ctx context.Context, it *batchItem[T]) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return b.lane.sub.handler(ctx, &it.d)
}

// enter is the end of an item's chain.
func (b *batchRun[T]) enter(ctx context.Context, d *Delivery) error {
	it := &b.items[d.place]
	if it.entered { // its chain asks again, after the batch
		m, err := MessageOf[T](d)
		if err != nil {
			return err
		}
		return b.lane.sub.batch(ctx, []Message[T]{m})
	}
	if err := b.admitAs(it, d); err != nil {
		return err
	}
	b.attemptFrom(ctx, int(d.place)+1)
	return it.result
}

// admit adds an item to the batch without a chain around it.
func (b *batchRun[T]) admit(it *batchItem[T]) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return b.admitAs(it, &it.d)
}

func (b *batchRun[T]) admitAs(it *batchItem[T], d *Delivery) error {
	m, err := MessageOf[T](d)
	if err != nil {
		return err
	}
	it.entered, it.index, it.key = true, len(b.messages), m.Key
	b.messages = append(b.messages, m)
	return nil
}

// handle calls the handler with what entered, and says for each event what it
// returned.
func (b *batchRun[T]) handle(ctx context.Context) {
	b.handled = true
	if len(b.messages) == 0 {
		return
	}
	defer func() { // for the handler's panic
		if r := recover(); r != nil {
			b.failAll(&PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	err := errguard.Safe(b.lane.sub.batch(ctx, b.messages))
	if err == nil {
		return
	}
	b.failAll(err)
	be := batchErrorIn(err)
	if be == nil {
		return
	}
	s := b.lane.sub
	if !be.fits(len(b.messages)) {
		foreign := &Error{Op: "handle", Topic: s.info.name, Subscription: s.name, Err: ErrForeignBatchError,
			Detail: fmt.Sprintf("the batch has %d events, and this is said of it: %v", len(b.messages), be)}
		b.failAll(foreign)
		return
	}
	failed := make(map[int]error, len(be.Failed))
	for _, f := range be.Failed {
		if failed[f.Index] == nil {
			failed[f.Index] = errguard.Safe(f.Err)
			if f.Err == nil {
				failed[f.Index] = errNamed
			}
		}
	}
	again := make(map[string]bool) // keys of which an event may get another attempt
	for i := range b.items {
		it := &b.items[i]
		if !it.entered {
			continue
		}
		it.result = failed[it.index]
		switch {
		case it.key != "" && again[it.key]:
			it.result = behind()
		case it.result != nil && b.mayComeAgain(it.result):
			again[it.key] = true
		}
	}
}

// mayComeAgain tells whether an error of the handler leads to another attempt, or
// the middleware may have it so.
func (b *batchRun[T]) mayComeAgain(err error) bool {
	j := dispose(err)
	_, decided := VerdictOf(err)
	return j.again() || !decided && !b.lane.sub.plain
}

// failAll says that the handler returned err for every event.
func (b *batchRun[T]) failAll(err error) {
	for i := range b.items {
		b.items[i].result = err
	}
}
