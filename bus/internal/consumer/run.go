package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// This file is what a worker does for a lease: one worker at a time.

// run does what is to be done for l, until there is nothing.
func (l *lease) run() {
	for {
		l.mu.Lock()
		l.again, l.working = false, !l.ending
		l.mu.Unlock()
		for l.step() {
			continue
		}
		l.mu.Lock()
		if !l.again || l.ended {
			l.scheduled, l.working = false, false
			l.mu.Unlock()
			l.committing.Notify()
			l.c.changed()
			return
		}
		l.mu.Unlock()
	}
}

// step does the next thing, and reports whether it did any.
func (l *lease) step() bool {
	handle := l.c.log()
	if handle == nil {
		return false // Consume has not returned, and looks after l when it has
	}
	l.mu.Lock()
	switch {
	case l.ended, l.ending:
		l.mu.Unlock()
		return false
	case l.commitDueLocked():
		l.mu.Unlock()
		return l.commitNow(l.c.reader.ctx, handle)
	case l.releasableLocked() && !l.settling.waits():
		l.mu.Unlock()
		return l.releaseNow(l.c.reader.ctx, handle)
	case l.fetchableLocked() && !l.reading.waits():
		after, n, size := l.fetchBoundsLocked()
		if n == 0 {
			break
		}
		l.mayFetch = false // before it: a Wake that comes meanwhile is seen
		l.mu.Unlock()
		return l.fetch(handle, after, n, size)
	}
	l.restLocked()
	l.mu.Unlock()
	return false
}

// restLocked has a worker look after l again when time alone changes something.
func (l *lease) restLocked() {
	var at time.Time
	earlier := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	switch {
	case (l.gathered > 0 || l.releasableLocked()) && l.settling.waits():
		earlier(l.settling.at)
	case l.gathered > 0:
		earlier(l.since.Add(commitAfter))
	}
	if l.fetchableLocked() && l.reading.waits() {
		earlier(l.reading.at)
	}
	if !at.IsZero() {
		l.lookLaterLocked(max(time.Millisecond, time.Until(at)))
	}
}

// failed has what failed tried again later, and reports to the step whether there is something else to
// do.
func (l *lease) failed(again *backoff, err error) bool {
	if over(err) {
		l.lost(err)
		return false
	}
	if l.c.reader.ctx.Err() != nil {
		return false // nothing is tried any more
	}
	l.c.report(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	again.failed(err)
	return true
}

// commitNow commits what has gathered.
func (l *lease) commitNow(ctx context.Context, handle transport.Consumer) bool {
	l.mu.Lock()
	commit, gathered, counters, deriving, number := l.commit, l.gathered, l.counters, l.deriving, l.number
	l.commit, l.gathered, l.counters, l.deriving, l.derived, l.urgent = transport.Commit{}, 0, nil, nil, 0, false
	l.number++
	l.mu.Unlock()
	err := l.callCommit(ctx, handle, commit)
	if len(deriving) > 0 && refused(err) {
		commit, err = l.commitApart(ctx, handle, commit, deriving)
	}
	if err != nil {
		l.mu.Lock()
		if !l.ended { // a Commit may be repeated
			l.commit, l.counters, l.deriving = joined(commit, l.commit), append(counters, l.counters...), append(deriving, l.deriving...)
			l.gathered += gathered
			l.urgent = true
		}
		l.mu.Unlock()
		return l.failed(&l.settling, fmt.Errorf("committing %d outcomes of partition %d: %w", gathered, l.id.Partition, err))
	}
	for _, c := range counters {
		c.Add(1)
	}
	l.mu.Lock()
	l.committed, l.settling = number+1, backoff{}
	if l.id.Whole() {
		for _, offset := range commit.Acked {
			l.window.settle(offset)
		}
		for i := range commit.Deferred {
			if commit.Deferred[i].Letter == 0 {
				l.window.settle(commit.Deferred[i].Offset)
			}
		}
		for i := range commit.Dead {
			if commit.Dead[i].Letter == 0 {
				l.window.settle(commit.Dead[i].Offset)
			}
		}
	}
	if l.blocked {
		l.blocked, l.mayFetch = false, true
	}
	l.mu.Unlock()
	l.committing.Notify()
	l.c.changed()
	l.c.someRoomCame()
	return true
}

// flush waits until what has gathered by now, and what is being committed, is in the log.
func (l *lease) flush(ctx context.Context) error {
	l.mu.Lock()
	last := l.number - 1
	if l.gathered > 0 {
		last = l.number
	}
	l.mu.Unlock()
	return l.committing.Wait(ctx, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.committed > last || l.ended
	})
}

// joined is two commits as one, the first one's outcomes first.
func joined(a, b transport.Commit) transport.Commit {
	return transport.Commit{
		Acked: append(a.Acked, b.Acked...), AckedLetters: append(a.AckedLetters, b.AckedLetters...),
		Deferred: append(a.Deferred, b.Deferred...), Dead: append(a.Dead, b.Dead...), Append: append(a.Append, b.Append...),
	}
}

// fetchableLocked reports whether something may be fetched now.
func (l *lease) fetchableLocked() bool {
	if !l.mayFetch || !l.adopted || l.state.Load() != leaseLive {
		return false
	}
	// Suspects run one at a time, each with its outcome in the log before the next, or what follows them.
	return !l.recovering || l.delivered == 0 && l.gathered == 0
}

// fetchBoundsLocked is from where on, how many events and how many bytes to fetch; none if there is no
// room.
func (l *lease) fetchBoundsLocked() (after uint64, n, size int) {
	room := l.c.room()
	if room <= 0 || l.bytes > 0 && l.bytes >= fetchBytes {
		l.starved = true
		l.c.starved.Store(true)
		if room = l.c.room(); room <= 0 || l.bytes >= fetchBytes {
			return 0, 0, 0
		}
		l.starved = false // it came between
	}
	l.recovering = len(l.suspects) > 0
	if len(l.suspects) > 0 {
		return l.suspects[0] - 1, 1, fetchBytes
	}
	n = min(room, fetchEvents)
	if l.id.Whole() {
		inWindow := l.window.room(l.next)
		if inWindow == 0 {
			l.blocked = true // letters that are replayed wait, too
			return 0, 0, 0
		}
		n = min(n, inWindow)
	}
	return l.next - 1, n, max(1, fetchBytes-l.bytes)
}

// fetch fetches events and gives them to the target.
func (l *lease) fetch(handle transport.Consumer, after uint64, n, size int) bool {
	var f transport.Fetched
	err := usercode.Call("Fetch of the log", func() (err error) {
		f, err = handle.Fetch(l.c.reader.ctx, l.id, after, n, size)
		return err
	})
	if err != nil {
		l.mu.Lock()
		l.mayFetch = true
		l.mu.Unlock()
		return l.failed(&l.reading, fmt.Errorf("fetching from partition %d: %w", l.id.Partition, err))
	}
	l.mu.Lock()
	l.reading = backoff{}
	if f.Trimmed > 0 && l.id.Whole() {
		l.window.passTo(after + 1 + f.Trimmed)
	}
	suspect := len(l.suspects) > 0
	if suspect {
		l.suspectsFetchedLocked(&f)
		l.mayFetch = true // after it, the next
	} else {
		l.next = f.Next
		if len(f.Entries)+len(f.Replays) > 0 {
			l.mayFetch = true // until there is nothing more
		} else if l.delivered > 0 || l.gathered > 0 {
			l.blocked = !l.id.Whole() // the window of a range is known to the log alone
		}
	}
	var events []*Event
	for i := range f.Entries {
		events = append(events, l.newEventLocked(&f.Entries[i], suspect))
	}
	for i := range f.Replays {
		events = append(events, l.newEventLocked(&f.Replays[i], false))
	}
	l.mu.Unlock()
	for _, e := range events {
		if !l.c.cfg.Target.Deliver(e) {
			l.untaken(e)
		}
	}
	return true
}

// suspectsFetchedLocked takes what was fetched off the list of suspects, with those before it, which
// the log has no more.
func (l *lease) suspectsFetchedLocked(f *transport.Fetched) {
	if len(f.Entries) == 0 {
		l.suspects = nil
		return
	}
	offset := f.Entries[0].Offset
	i, found := slices.BinarySearch(l.suspects, offset)
	if l.suspects = l.suspects[i:]; !found {
		f.Entries = nil // it comes again when there is no suspect before it
		return
	}
	l.suspects = l.suspects[1:]
}

// newEventLocked makes an event that is delivered.
func (l *lease) newEventLocked(entry *transport.Entry, suspect bool) *Event {
	e := &Event{
		Envelope: entry.Envelope, Offset: entry.Offset, Letter: entry.Letter, At: entry.At, lease: l,
		attempt: 1, counted: suspect || entry.Letter != 0, suspect: suspect, bytes: entry.Envelope.Size(),
	}
	e.Envelope.Extra = e
	l.deliveredLocked(e)
	return e
}

// giveUp begins the end of l: what is not started is given back, and then it is released.
func (l *lease) giveUp() {
	l.mu.Lock()
	l.release = true
	live := l.state.CompareAndSwap(leaseLive, leaseReturning)
	l.changedLocked()
	l.mu.Unlock()
	if live {
		l.committing.Notify() // who waits to start an event
		l.c.cfg.Target.Returning(l)
	}
}

// releasableLocked reports whether l is to be released, and nothing of it is under way. What lanes have
// and have not started need not be back: Begin refuses it.
func (l *lease) releasableLocked() bool {
	switch {
	case l.gathered > 0, l.pinned > 0:
		return false
	case l.release:
		return l.started == 0
	case l.delivered > 0:
		return false
	}
	// A range is over when all of it is settled and nothing of it waits.
	return !l.id.Whole() && l.held == 0 && l.next >= l.id.To && len(l.suspects) == 0
}

// releaseNow releases l.
func (l *lease) releaseNow(ctx context.Context, handle transport.Consumer) bool {
	l.state.CompareAndSwap(leaseLive, leaseReturning)
	if err := usercode.Call("Release of the log", func() error { return handle.Release(ctx, l.id) }); err != nil {
		return l.failed(&l.settling, fmt.Errorf("releasing partition %d: %w", l.id.Partition, err))
	}
	l.mu.Lock()
	l.ended = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.c.forget(l)
	return false
}

// cutShort commits what has ended. It releases l if that is all; otherwise l is lost. What the log refuses
// is tried again while ctx lasts.
func (l *lease) cutShort(ctx context.Context) error {
	handle := l.c.log()
	// The worker that may have it is waited for: its commit is to be over.
	err := l.committing.Wait(ctx, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ending = l.ending || !l.working
		return l.ending
	})
	for err == nil && l.endNow(ctx, handle) {
		err = l.settling.rest(ctx)
	}
	l.mu.Lock()
	ended, started, gathered, why := l.ended, l.started+l.pinned, l.gathered, l.settling.err
	l.mu.Unlock()
	if ended {
		return nil
	}
	l.lost(ErrNotReleased)
	return errors.Join(err, why, fmt.Errorf("partition %d of %s: %w: %d events or actors were under way, and %d outcomes are not in the log", l.id.Partition, l.c.cfg.Topic, ErrNotReleased, started, gathered))
}

// endNow commits, or releases, at the end, and reports whether there is more to do, or to be tried again.
func (l *lease) endNow(ctx context.Context, handle transport.Consumer) bool {
	l.mu.Lock()
	due, idle := !l.ended && l.gathered > 0, !l.ended && l.releasableLocked()
	l.mu.Unlock()
	switch {
	case due:
		return l.commitNow(ctx, handle)
	case idle:
		return l.releaseNow(ctx, handle)
	}
	return false
}
