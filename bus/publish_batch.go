package bus

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// batchChunk is how many events of a batch enter under one hold of the fan-out's
// lock: enough to make the lock's cost vanish, few enough not to shut others out.
const batchChunk = 64

// batch is one PublishBatch on its way in.
type batch[T any] struct {
	in     *fanout[T]
	p      caller
	head   head // of every event
	hashes [batchChunk]uint64
	keyed  bool     // hashes hold the keys of the present chunk
	keys   []string // the keys themselves where a mailbox needs them, else nil
	lost   bool     // a mailbox dropped something
	failed []IndexedError
}

// publishBatch enters events one after another. When one has to wait, those
// before it are shown to the lanes first. When the wait is given up, what is
// left fails with it; ErrMailboxFull fails only the event it befell.
func (fan *fanout[T]) publishBatch(ctx context.Context, events []T, h head, receipt *Receipt) []IndexedError {
	b := batch[T]{in: fan, p: caller{ctx: ctx}, head: h}
	for start := 0; start < len(events); start += batchChunk {
		chunk := events[start:min(start+batchChunk, len(events))]
		if fan.stamp {
			b.head.at = time.Now().UnixNano()
		}
		hints := fan.hints.Load()
		b.hash(chunk, hints&hintKeyed != 0, hints&hintLatest != 0)
		fan.mu.Lock()
		n, err := b.enter(chunk, start)
		fan.commitAll()
		receipt.entered(len(fan.mu.targets), start == 0)
		fan.mu.Unlock()
		if err != nil {
			for i := start + n; i < len(events); i++ {
				b.failed = append(b.failed, IndexedError{Index: i, Err: err})
			}
			break
		}
	}
	if b.lost {
		fan.reportDrops()
	}
	if len(b.failed) > 0 {
		receipt.clear()
	}
	return b.failed
}

// enter puts the events of a chunk, the first of which has the index start in
// the batch, and returns how many it dealt with before it had to give up. It is
// called, and returns, with the fan-out locked; what it put is not committed.
func (b *batch[T]) enter(chunk []T, start int) (n int, err error) {
	fan := b.in
	for n < len(chunk) {
		n += b.fast(chunk, n)
		if n == len(chunk) {
			break
		}
		p := fan.planLocked()
		switch {
		case p.keyed && !b.keyed, p.latest && b.keys == nil:
			b.unlocked(func() { b.hash(chunk, p.keyed, p.latest) })
			continue
		case fan.refuses(&b.p):
			b.unlocked(func() { err = fan.admit(&b.p) })
			if err != nil {
				return n, &Error{Op: "publish", Topic: fan.info.name, Err: err}
			}
			continue
		}
		full, of := fan.reserve(p, b.hashes[n])
		if full == nil {
			var key string
			if b.keys != nil {
				key = b.keys[n]
			}
			b.lost = fan.append(&cell[T]{head: b.head, v: chunk[n]}, key) || b.lost
			n++
			continue
		}
		fan.commitAll()
		if err = fan.awaitRoom(&b.p, full, of, b.hashes[n]); errguard.Is(err, ErrMailboxFull) {
			b.failed = append(b.failed, IndexedError{Index: start + n, Err: err})
			n++
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// fast is the short way in, as tryFast is: it puts as many events of a chunk, from the one with that index
// on, as there is room for, and returns how many.
func (b *batch[T]) fast(chunk []T, from int) (n int) {
	fan := b.in
	p := fan.mu.plan
	if p == nil || p.fast == fastNone || p.keyed && !b.keyed || fan.core.state.Load() != stateOpen {
		return 0
	}
	events, seq := chunk[from:], fan.mu.seq
	for n < len(events) && p.fast == fastShared && fan.grow(p) == nil {
		cells := fan.mu.shared.Slots(len(events) - n)
		for i := range cells {
			seq++
			cells[i].fill(&events[n+i], b.head.env, b.head.headers, b.head.at, seq)
		}
		n += len(cells)
	}
	for n < len(events) && p.fast == fastLanes {
		l := p.only.choose(b.hashes[from+n])
		if l.full() {
			break
		}
		seq++
		l.box.Own.Slot().fill(&events[n], b.head.env, b.head.headers, b.head.at, seq)
		n++
	}
	fan.mu.seq = seq
	return n
}

// unlocked runs user code outside the fan-out's lock, after what was put has
// been committed.
func (b *batch[T]) unlocked(f func()) {
	b.in.commitAll()
	b.in.mu.Unlock()
	f() // if it panics, the publisher's goroutine does, and the lock is free
	b.in.mu.Lock()
}

// hash computes the key hashes of a chunk if a target needs them, and keeps the keys if a mailbox
// needs those.
func (b *batch[T]) hash(chunk []T, keyed, latest bool) {
	b.keyed = keyed
	if !keyed {
		clear(b.hashes[:])
		b.keys = nil
		return
	}
	if b.keys == nil && latest {
		b.keys = make([]string, batchChunk)
	}
	for i := range chunk {
		id := b.in.findKey(&chunk[i], b.keys != nil)
		b.hashes[i] = id.hash
		if b.keys != nil {
			b.keys[i] = id.key
		}
	}
}

// commitAll shows every lane what was put for it.
func (fan *fanout[T]) commitAll() {
	if fan.mu.plan == nil {
		return // nothing was, since it was dropped
	}
	fan.commitShared()
	for _, t := range fan.mu.plan.own {
		t.commit()
	}
}
