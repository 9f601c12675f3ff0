package middleware

import (
	"container/list"
	"sync"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/ring"
)

// dedupTable is what Dedup knows of a subscription's events. It has no clock: each call says what
// time it is.
//
// A key is in at most one of these states:
//
//	unknown → running    begin: the event goes on
//	running → handled    finish without an error; forgotten by age or number
//	running → waiting    finish with a retry granted
//	running → unknown    finish with any other error
//	waiting → running    begin of the retry; or, when that is overdue, of a repetition
type dedupTable struct {
	size int
	ttl  time.Duration // 0 or less: none
	wait time.Duration

	mu struct {
		sync.Mutex
		keys    map[dedupKey]*keyState // what is not here is unknown
		order   ring.Ring[handledKey]  // those handled, oldest first
		waiting list.List              // of dedupKey: those waiting, oldest first
	}
}

// keyState is a state other than unknown: handled, running, or one of its own for each key that
// waits.
type keyState struct {
	place   *list.Element // in the list of those that wait
	attempt int           // the number of the retry waited for
	until   time.Time     // when that is overdue
}

// The states that need no words are told by their addresses.
var handled, running = &keyState{}, &keyState{}

// dedupKey is what repetitions have in common: an ID or a text, never both.
type dedupKey struct {
	id   bus.MessageID
	text string
}

type handledKey struct {
	key dedupKey
	at  time.Time
}

func newDedupTable(size int, ttl, wait time.Duration) *dedupTable {
	w := &dedupTable{size: size, ttl: ttl, wait: wait}
	w.mu.keys = make(map[dedupKey]*keyState)
	return w
}

// begin asks whether an event may go on. nil says yes, and has leave to be called; else it is the
// event's outcome.
func (w *dedupTable) begin(key dedupKey, attempt int, now time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expireLocked(now)
	switch state := w.mu.keys[key]; {
	case state == nil:
	case state == handled:
		return bus.Discard(ErrDuplicate)
	case state == running:
		return bus.Snooze(w.wait)
	case attempt != state.attempt && now.Before(state.until):
		// A repetition, by the number of its attempt. What can't be told apart so, another event
		// that has come to the same number, is as good as the one waited for.
		return bus.Snooze(state.until.Sub(now))
	default:
		w.mu.waiting.Remove(state.place)
	}
	w.mu.keys[key] = running
	return nil
}

// finish says how the event that entered ended its attempt.
func (w *dedupTable) finish(key dedupKey, attempt int, err error, now time.Time) {
	v, decided := bus.VerdictOf(err) // asks err's methods: not under the lock
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.rememberLocked(key, now)
	case decided && v.Action == bus.ActionRetry:
		// Overdue only some time after it is due: its lane may be busy then.
		w.mu.keys[key] = &keyState{
			place: w.mu.waiting.PushBack(key), attempt: attempt + 1, until: now.Add(max(0, v.After) + w.wait),
		}
		// The bound is for retries that never come, because something further out decided
		// otherwise.
		if w.mu.waiting.Len() > w.size {
			delete(w.mu.keys, w.mu.waiting.Remove(w.mu.waiting.Front()).(dedupKey))
		}
	default:
		delete(w.mu.keys, key)
	}
}

func (w *dedupTable) rememberLocked(key dedupKey, now time.Time) {
	if w.mu.order.Len() >= w.size {
		w.forgetOldestLocked()
	}
	w.mu.keys[key] = handled
	w.mu.order.Push(&handledKey{key: key, at: now})
}

func (w *dedupTable) expireLocked(now time.Time) {
	if w.ttl <= 0 {
		return
	}
	for oldest := w.mu.order.Peek(); oldest != nil && now.Sub(oldest.at) >= w.ttl; oldest = w.mu.order.Peek() {
		w.forgetOldestLocked()
	}
}

func (w *dedupTable) forgetOldestLocked() {
	var oldest handledKey
	if w.mu.order.Pop(&oldest) {
		delete(w.mu.keys, oldest.key)
	}
}
