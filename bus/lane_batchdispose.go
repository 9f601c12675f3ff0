package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
)

// This file is how a batch ends: every event of it in one place of the ledger, or
// deferred, all under one hold of the lane's lock.

// abort settles a batch whose attempt did not end by itself, mostly because user
// code called runtime.Goexit: what has no result failed with err.
func (b *batchRun[T]) abort(err error) {
	for i := range b.items {
		if it := &b.items[i]; !it.tried {
			it.err, it.tried = err, true
		}
	}
	b.finish()
}

// finish ends the attempt. If user code that it calls ends the goroutine, it is
// called again, and goes on where it was.
func (b *batchRun[T]) finish() {
	l := b.lane
	again, began := false, false
	for i := range b.items {
		it := &b.items[i]
		if it.err == nil {
			continue
		}
		if !began {
			l.beginDisposing()
			began = true
		}
		b.dispose(it)
		again = again || it.disposed.again()
		if it.disposed.act == ActionDeadLetter && !it.disposed.abandon && !it.kept && !again {
			b.keep(it)
		}
	}
	if again {
		b.keepOrder()
	}
	for i := range b.items {
		if it := &b.items[i]; it.disposed != nil && !it.disposed.again() {
			l.failAsker(&it.cell, it.disposed)
		}
	}
	panics := b.panics()
	b.record()
	clear(b.items)
	clear(b.messages)
	b.items, b.messages = b.items[:0], b.messages[:0]
	if l.mu.retries.Len() > 0 {
		l.armTimer()
	}
	for _, j := range panics {
		l.sub.countPanic(laneName(l.index), j.cause)
	}
}

// dispose finds what the failed attempt at an item leads to, and its key if that is
// another attempt.
func (b *batchRun[T]) dispose(it *batchItem[T]) {
	if it.disposed != nil {
		return
	}
	j := dispose(it.err)
	if j.again() {
		b.findKey(it)
	}
	j.abandon = b.lane.sub.ctl.Load()&ctlClosing != 0 && j.act != ActionDiscard
	it.disposed = &j
}

// keepOrder has every item behind one of its key that comes again come again, too,
// and keeps the dead letters among the rest.
func (b *batchRun[T]) keepOrder() {
	again := make(map[string]bool)
	for i := range b.items {
		it := &b.items[i]
		b.findKey(it)
		switch {
		case it.key != "" && again[it.key]:
			if it.disposed == nil || !it.disposed.again() && !it.disposed.abandon && !it.kept {
				it.err = behind()
				it.disposed = nil
				b.dispose(it)
			}
		case it.disposed == nil:
		case it.disposed.again():
			again[it.key] = true
		case it.disposed.act == ActionDeadLetter && !it.disposed.abandon && !it.kept:
			b.keep(it)
		}
	}
}

// keep keeps an item as a dead letter and tells OnDeadLetter, once.
func (b *batchRun[T]) keep(it *batchItem[T]) {
	it.kept = true
	l := b.lane
	d := it.d
	d.batch = nil
	l.sub.keepDeadLetter(l.ctx, deadLetter(&it.cell, d, it.disposed))
}

// panics is one disposition for each panic: that of the handler befell many events.
func (b *batchRun[T]) panics() (distinct []*disposition) {
	var last *disposition
	for i := range b.items {
		j := b.items[i].disposed
		if j == nil || !j.panicked || last != nil && last.thrown == j.thrown {
			continue
		}
		distinct = append(distinct, j)
		last = j
	}
	return distinct
}

// record enters the ends of all attempts in the ledger, and defers what comes again.
func (b *batchRun[T]) record() {
	l := b.lane
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(b.items); i++ {
		it := &b.items[i]
		if g := it.group; g != nil {
			n := i
			for n < len(b.items) && b.items[n].group == g {
				n++
			}
			b.returnTo(g, b.items[i:n], now)
			i = n - 1
			continue
		}
		if !l.countLocked(it.disposed, &it.attempt) {
			continue
		}
		// Only an item before this one can have deferred its key.
		if !l.mu.retries.Behind(it.key, it.deferredEvent()) {
			l.mu.retries.Defer(it.key, it.deferredEvent(), now.Add(it.disposed.after))
		}
	}
	l.mu.inHand, l.mu.disposing = 0, false
}

// deferredEvent is the item as it waits for its next attempt.
func (it *batchItem[T]) deferredEvent() retryqueue.Item[cell[T]] {
	return retryqueue.Item[cell[T]]{Event: it.cell, N: it.n, Attempt: it.attempt}
}

// returnTo accounts for the items of one deferred key: from the first that comes
// again on they wait in front of what is behind that key.
func (b *batchRun[T]) returnTo(g *retryqueue.Key[cell[T]], items []batchItem[T], now time.Time) {
	l := b.lane
	var due time.Time
	var again []retryqueue.Item[cell[T]]
	for i := range items {
		it := &items[i]
		if !l.countLocked(it.disposed, &it.attempt) {
			continue
		}
		if again == nil {
			due = now.Add(it.disposed.after)
		}
		again = append(again, it.deferredEvent())
	}
	l.mu.retries.Return(g, due, again...)
}
