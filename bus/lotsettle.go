package bus

import (
	"time"

	"github.com/shardbus/shardbus/internal/mailbox"
)

// This file is how a lot ends: every event of it in one place of the ledger, or
// parked, all under one hold of the lane's lock.

// cutShort settles a lot whose attempt did not end by itself, mostly because user
// code called runtime.Goexit: what has no result failed with err.
func (b *lot[T]) cutShort(err error) {
	for i := range b.items {
		if it := &b.items[i]; !it.tried {
			it.err, it.tried = err, true
		}
	}
	b.settle()
}

// settle ends the attempt. If user code that it calls ends the goroutine, it is
// called again, and goes on where it was.
func (b *lot[T]) settle() {
	l := b.lane
	again, began := false, false
	for i := range b.items {
		it := &b.items[i]
		if it.err == nil {
			continue
		}
		if !began {
			l.beginSettling()
			began = true
		}
		b.judge(it)
		again = again || it.judged.again()
		if it.judged.act == ActionDeadLetter && !it.judged.abandon && !it.kept && !again {
			b.keep(it)
		}
	}
	if again {
		b.keepOrder()
	}
	for i := range b.items {
		if it := &b.items[i]; it.judged != nil && !it.judged.again() {
			l.forsake(&it.cell, it.judged)
		}
	}
	panics := b.panics()
	b.account()
	clear(b.items)
	clear(b.messages)
	b.items, b.messages = b.items[:0], b.messages[:0]
	if l.mu.parking.n > 0 {
		l.armTimer()
	}
	for _, j := range panics {
		l.sub.countPanic(laneName(l.index), j.cause)
	}
}

// judge finds what the failed attempt at an item leads to, and its key if that is
// another attempt.
func (b *lot[T]) judge(it *lotItem[T]) {
	if it.judged != nil {
		return
	}
	j := judge(it.err)
	if j.again() {
		b.findKey(it)
	}
	j.abandon = b.lane.sub.ctl.Load()&ctlClosing != 0 && j.act != ActionDiscard
	it.judged = &j
}

// keepOrder has every item behind one of its key that comes again come again, too,
// and keeps the dead letters among the rest.
func (b *lot[T]) keepOrder() {
	again := make(map[string]bool)
	for i := range b.items {
		it := &b.items[i]
		b.findKey(it)
		switch {
		case it.key != "" && again[it.key]:
			if it.judged == nil || !it.judged.again() && !it.judged.abandon && !it.kept {
				it.err = behind()
				it.judged = nil
				b.judge(it)
			}
		case it.judged == nil:
		case it.judged.again():
			again[it.key] = true
		case it.judged.act == ActionDeadLetter && !it.judged.abandon && !it.kept:
			b.keep(it)
		}
	}
}

// keep keeps an item as a dead letter and tells OnDeadLetter, once.
func (b *lot[T]) keep(it *lotItem[T]) {
	it.kept = true
	l := b.lane
	d := it.d
	d.batch = nil
	l.sub.keepDeadLetter(l.ctx, deadLetter(&it.cell, d, it.judged))
}

// panics is one judgment for each panic: that of the handler befell many events.
func (b *lot[T]) panics() (distinct []*judgment) {
	var last *judgment
	for i := range b.items {
		j := b.items[i].judged
		if j == nil || !j.panicked || last != nil && last.thrown == j.thrown {
			continue
		}
		distinct = append(distinct, j)
		last = j
	}
	return distinct
}

// account enters the ends of all attempts in the ledger, and parks what comes again.
func (b *lot[T]) account() {
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
		if !l.tally(it.judged, &it.attempt) {
			continue
		}
		// Only an item before this one can have parked its key.
		if !l.mu.parking.behind(it.key, it.parked()) {
			l.mu.parking.park(it.key, &it.cell, it.n, it.attempt, now.Add(it.judged.after))
		}
	}
	l.mu.inHand, l.mu.settling = 0, false
}

// parked is the item as it waits behind another of its key.
func (it *lotItem[T]) parked() parkedEvent[T] {
	return parkedEvent[T]{c: it.cell, n: it.n, attempt: it.attempt}
}

// returnTo accounts for the items of one parked key: from the first that comes
// again on they wait in front of what is behind that key.
func (b *lot[T]) returnTo(g *parkedKey[T], items []lotItem[T], now time.Time) {
	l := b.lane
	p := &l.mu.parking
	var first *lotItem[T]
	var back mailbox.Ring[parkedEvent[T]]
	for i := range items {
		it := &items[i]
		switch {
		case !l.tally(it.judged, &it.attempt):
		case first == nil:
			first = it
		default:
			e := it.parked()
			back.Push(&e)
			p.n++
		}
	}
	if first == nil {
		p.next(g)
		return
	}
	if back.Len() > 0 {
		var e parkedEvent[T]
		for g.behind.Pop(&e) {
			back.Push(&e)
		}
		g.behind = back
	}
	g.n = first.n
	p.again(g, &first.cell, first.attempt, now.Add(first.judged.after))
}
