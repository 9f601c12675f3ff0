package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
	"github.com/shardbus/shardbus/internal/errguard"
)

// attempt is one event that a lane has in hand, and what becomes of it.
type attempt[T any] struct {
	cell     *cell[T] // where the event stands: in the mailbox, or else in held
	held     cell[T]
	d        Delivery
	n        uint64                   // its number in order of arrival at the lane
	number   int                      // of the attempt
	retry    *retryqueue.Key[cell[T]] // that it came from, when it was deferred
	key      string                   // when that is known
	asking   bool                     // for the key, which is user code
	blocked  bool                     // it awaits another member of the group
	tried    bool                     // err is what became of it
	err      error                    // its chain's
	disposed *disposition             // of err, when that is known
	kept     bool                     // as a dead letter

	// Of a batch.
	entered bool
	index   int   // in messages, if it entered
	result  error // the handler's
}

// attempts is what a lane has in hand, but for what stream and takeOne handle where it stands in
// the mailbox: a batch of a SubscribeBatch, or one event that failed or comes out of the retry
// queue. All of it is settled together. Only the lane's goroutine uses it, but for full.
type attempts[T any] struct {
	lane     *lane[T]
	log      *laneLog // of a durable topic; else nil
	items    []attempt[T]
	messages []Message[T] // of the items that entered
	handled  bool         // the batch's handler was called

	until time.Time // when lingering ends; zero while it has not begun
	timer *time.Timer
}

// errNamed is the error of an event that a BatchError names without one.
var errNamed = errors.New("a BatchError names the event without an error")

// errBehind is why an event of a batch was not acknowledged with the others.
var errBehind = errors.New("an event of the same key, before it in the batch, failed")

// behind is the verdict on such an event.
func behind() error { return &Verdict{Action: ActionSnooze, Err: errBehind} }

// open makes a Delivery of each item.
func (b *attempts[T]) open() {
	for i := range b.items {
		it := &b.items[i]
		if it.retry != nil || b.lane.takes {
			it.cell = &it.held
		}
		c := it.cell
		it.d = b.lane.d
		it.d.head, it.d.value, it.d.attempt = &c.head, &c.v, it.number
		if it.d.encoded = c.seq == 0; it.d.encoded {
			var zero T
			c.v = zero // what the last attempt decoded
		}
		if b.lane.batched {
			it.d.batch, it.d.place = b, int32(i)
		}
	}
}

// findKey computes the key of an item, where none is known. The Key function is the user's: its
// panic is returned, and if it ends the goroutine, asking stays true.
func (it *attempt[T]) findKey() (err *PanicError) {
	if it.key != "" || it.asking {
		return nil
	}
	it.asking = true
	defer func() {
		if r := recover(); r != nil {
			err, it.asking = &PanicError{Value: r, Stack: debug.Stack()}, false
		}
	}()
	it.key = it.d.Key()
	it.asking = false
	return nil
}

// run runs an attempt at what is in hand and settles it.
func (b *attempts[T]) run() {
	if len(b.items) == 0 {
		return // all were set aside
	}
	if b.lane.durable {
		b.beginAttempt()
	}
	b.open()
	if b.lane.durable {
		b.openStages()
	}
	if b.lane.batched {
		b.runBatch()
	} else {
		if it := &b.items[0]; it.disposed == nil && !it.tried {
			it.err = b.lane.handler(b.lane.ctx, &it.d)
			it.tried = true
		}
	}
	b.finish()
}

// runBatch runs an attempt at a batch.
func (b *attempts[T]) runBatch() {
	b.handled = false
	start := time.Now()
	ctx := b.lane.ctx
	if s := b.lane.cfg; !s.plain || s.debug {
		b.attemptFrom(ctx, 0)
	} else {
		for i := range b.items {
			it := &b.items[i]
			if it.disposed != nil || it.tried {
				continue
			}
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
	b.lane.cfg.owner.measured().add(time.Since(start))
}

// attemptFrom runs the chains of the items from the i-th on, each inside the one
// before it if that entered the batch, and in the last one the handler.
func (b *attempts[T]) attemptFrom(ctx context.Context, i int) {
	for ; i < len(b.items); i++ {
		it := &b.items[i]
		if it.disposed != nil || it.tried {
			continue // it is not attempted
		}
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
func (b *attempts[T]) mustFollow(i int) bool {
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
		it.findKey()
		if it.key != "" && it.key == before.key {
			return true
		}
	}
	return false
}

// attempt runs the chain of one item. A panic of a middleware is its failure alone.
func (b *attempts[T]) attempt(ctx context.Context, it *attempt[T]) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return b.lane.cfg.handler(ctx, &it.d)
}

// enter is the end of an item's chain.
func (b *attempts[T]) enter(ctx context.Context, d *Delivery) error {
	it := &b.items[d.place]
	if it.entered { // its chain asks again, after the batch
		m, err := MessageOf[T](d)
		if err != nil {
			return err
		}
		return b.lane.cfg.batch(ctx, []Message[T]{m})
	}
	if err := b.admitAs(it, d); err != nil {
		return err
	}
	b.attemptFrom(ctx, int(d.place)+1)
	return it.result
}

// admit adds an item to the batch without a chain around it.
func (b *attempts[T]) admit(it *attempt[T]) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	return b.admitAs(it, &it.d)
}

func (b *attempts[T]) admitAs(it *attempt[T], d *Delivery) error {
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
func (b *attempts[T]) handle(ctx context.Context) {
	b.handled = true
	if len(b.messages) == 0 {
		return
	}
	defer func() { // for the handler's panic
		if r := recover(); r != nil {
			b.failAll(&PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	err := errguard.Safe(b.lane.cfg.batch(ctx, b.messages))
	if err == nil {
		return
	}
	b.failAll(err)
	be := batchErrorIn(err)
	if be == nil {
		return
	}
	s := b.lane.cfg
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
func (b *attempts[T]) mayComeAgain(err error) bool {
	j := dispose(err)
	_, decided := VerdictOf(err)
	return j.again() || !decided && !b.lane.cfg.plain
}

// failAll says that the handler returned err for every event.
func (b *attempts[T]) failAll(err error) {
	for i := range b.items {
		b.items[i].result = err
	}
}
