package appender

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// batch is what one call of the log appends: the events of one or more waiters.
type batch struct {
	of *batches
	attempts
	here   waiter // of a caller that makes the first attempt itself
	shared bool   // that caller waits for somebody else to go on
	seats  []seat
	bytes  int // about
	// saved are the envelopes as they were: those of an attempt belong to the log.
	saved     []transport.Envelope
	envelopes []*transport.Envelope
	due       []time.Time // nil, or of each
	userID    []bool      // nil, or of each

	publisher transport.PublisherState
	ctx       context.Context // of the next attempt; nil: that of the queue at that time
	caller    context.Context // nil, or what the call of the log ends with, too
	delay     time.Duration   // before the next attempt
	places    []Result        // what the result says of each event; nil where that is simple

	// What the log is given.
	call    [1]transport.Batch
	results [1]transport.AppendResult
}

// seat is a waiter in a batch, with what nobody may ask it any more when it is answered.
type seat struct {
	*waiter
	from, n int // which of the events are its
	bytes   int
}

// batches are those that can be used again.
type batches struct{ pool sync.Pool }

func (f *batches) get() *batch {
	b, ok := f.pool.Get().(*batch)
	if !ok {
		b = &batch{of: f}
	}
	return b
}

// keptEvents is for how many events a batch that is used again has room, at most.
const keptEvents = 256

// release has the batch used again.
func (b *batch) release() {
	if b.broken || b.shared || cap(b.saved) > keptEvents {
		return // a log that has panicked may know its slices, and a caller its waiter
	}
	clear(b.seats)
	clear(b.saved)
	clear(b.envelopes)
	b.here.release()
	b.seats, b.saved, b.envelopes, b.due, b.userID = b.seats[:0], b.saved[:0], b.envelopes[:0], b.due[:0], b.userID[:0]
	b.attempts, b.bytes, b.delay, b.ctx, b.places = attempts{}, 0, 0, nil, nil
	b.of.pool.Put(b)
}

// add adds the events of a waiter.
func (b *batch) add(w *waiter) {
	w.state.Store(appending)
	b.seats = append(b.seats, seat{waiter: w, from: len(b.saved), n: w.n, bytes: w.bytes})
	b.bytes += w.bytes
	for i := range w.events {
		if w.results[i].Err == nil {
			e := &w.events[i]
			b.append(*e.Envelope, e.Envelope, e.Due, e.UserID)
		}
	}
}

// append adds an event.
func (b *batch) append(saved transport.Envelope, env *transport.Envelope, due time.Time, userID bool) {
	n := len(b.saved)
	b.saved, b.envelopes = append(b.saved, saved), append(b.envelopes, env)
	if !due.IsZero() || len(b.due) > 0 {
		b.due = append(append(b.due, make([]time.Time, n-len(b.due))...), due)
	}
	if userID || len(b.userID) > 0 {
		b.userID = append(append(b.userID, make([]bool, n-len(b.userID))...), userID)
	}
}

// prepare prepares the next attempt.
func (b *batch) prepare(at place) {
	if b.n > 0 {
		again := slices.Clone(b.saved)
		for i := range again {
			b.envelopes[i] = &again[i]
		}
	}
	b.n++
	b.call[0] = transport.Batch{Topic: at.topic, Partition: at.partition, Publisher: b.publisher, Envelopes: b.envelopes}
	if len(b.due) > 0 {
		b.call[0].Due = b.due
	}
	if len(b.userID) > 0 {
		b.call[0].UserID = b.userID
	}
	b.results[0] = transport.AppendResult{}
}

// answer tells the waiters what became of the batch. err may be nil.
func (b *batch) answer(err error) {
	for _, s := range b.seats {
		if s.state.CompareAndSwap(appending, answered) {
			b.fill(s, err)
			s.done <- struct{}{}
		}
	}
}

// fill sets the results of a waiter.
func (b *batch) fill(s seat, err error) {
	r := &b.results[0]
	if effectOf(err) != taken {
		fail(s.results, err)
		return
	}
	places := b.places
	if places == nil && (r.Waiting != nil || r.Duplicate != nil) {
		places = expand(r, len(b.saved))
		b.places = places
	}
	next := s.from
	for i := range s.results {
		if s.results[i].Err != nil {
			continue // too large
		}
		var result Result
		switch {
		case places != nil:
			result = places[next]
		case r.First != 0:
			result.Offset = r.First + uint64(next) //nolint:gosec // an index
		}
		result.Repeated, result.Err = r.Repeated || b.doubt != nil, err
		s.results[i] = result
		next++
	}
}

// expand is what a result says of each of n events, see [transport.AppendResult.Offset].
func expand(r *transport.AppendResult, n int) []Result {
	results := make([]Result, n)
	for _, d := range r.Duplicate {
		if d.Index >= 0 && d.Index < n {
			results[d.Index] = Result{Duplicate: true, Offset: d.Offset}
		}
	}
	for _, w := range r.Waiting {
		if w >= 0 && w < n {
			results[w] = Result{Waiting: true}
		}
	}
	if r.First == 0 {
		return results
	}
	offset := r.First
	for i := range results {
		if !results[i].Duplicate && !results[i].Waiting {
			results[i].Offset = offset
			offset++
		}
	}
	return results
}

// part is the events of a waiter as a batch.
func (b *batch) part(s seat) *batch {
	p := b.of.get()
	p.seats, p.bytes = append(p.seats, seat{waiter: s.waiter, n: s.n, bytes: s.bytes}), s.bytes
	p.n = 1 // the envelopes belong to the log
	for i := s.from; i < s.from+s.n; i++ {
		var due time.Time
		if len(b.due) > 0 {
			due = b.due[i]
		}
		p.append(b.saved[i], nil, due, len(b.userID) > 0 && b.userID[i])
	}
	return p
}
