package middleware

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
)

// failureLog collapses the repeated failures of one subscription. A period begins with a failure,
// ends by a timer or with the subscription, and then everything is forgotten: a failure that goes
// on begins the next.
type failureLog struct {
	log       *zap.Logger
	period    time.Duration
	maxErrors int

	mu struct {
		sync.Mutex
		kinds  map[failureKind]*repeats
		order  []*repeats // the values of kinds, in order of appearance
		others repeats    // of kinds beyond maxErrors
		timer  *time.Timer
		unhook func() bool // takes back the hook on the subscription's end
	}
}

// failureKind is what repetitions of a failure have in common.
type failureKind struct{ what, next, cause string }

// repeats counts failures that were not logged.
type repeats struct {
	kind    failureKind
	level   zapcore.Level
	began   time.Time // when the first was logged
	n       int
	lastID  bus.MessageID
	attempt int // of the last
}

func (r *repeats) add(id bus.MessageID, attempt int) {
	r.n++
	r.lastID, r.attempt = id, attempt
}

func newFailureLog(log *zap.Logger, period time.Duration, maxErrors int) *failureLog {
	f := &failureLog{log: log, period: period, maxErrors: maxErrors}
	f.mu.kinds = make(map[failureKind]*repeats)
	return f
}

// failed logs the failure or counts it.
func (f *failureLog) failed(ctx context.Context, d *bus.Delivery, err error) {
	j := classify(err)
	if !f.log.Core().Enabled(j.level) {
		return
	}
	if f.count(ctx, d, j) {
		return
	}
	f.log.Log(j.level, j.what, describeFailure(d, err, j)...)
}

// count counts a failure, and reports false for the first of its kind.
func (f *failureLog) count(ctx context.Context, d *bus.Delivery, j failureClass) bool {
	kind := failureKind{what: j.what, next: j.next, cause: j.cause}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.mu.kinds[kind]; r != nil {
		r.add(d.ID(), d.Attempt())
		return true
	}
	if len(f.mu.kinds) >= f.maxErrors {
		o := &f.mu.others
		if o.n == 0 {
			o.began, o.level = time.Now(), j.level
		}
		o.level = max(o.level, j.level)
		o.kind.cause = j.cause
		o.add(d.ID(), d.Attempt())
		return true
	}
	if len(f.mu.kinds) == 0 {
		f.beginLocked(ctx, d.Topic(), d.Subscription())
	}
	r := &repeats{kind: kind, level: j.level, began: time.Now()}
	f.mu.kinds[kind] = r
	f.mu.order = append(f.mu.order, r)
	return false
}

// beginLocked begins a period.
func (f *failureLog) beginLocked(ctx context.Context, topic, subscription string) {
	end := func() { f.end(topic, subscription) }
	f.mu.timer = time.AfterFunc(f.period, end)
	f.mu.unhook = context.AfterFunc(ctx, func() {
		// ctx may be that of one attempt, where a Timeout stands further out: then the timer has to
		// do.
		if ended(ctx) {
			end()
		}
	})
}

// end logs what was counted and ends the period. The timer of a period that the subscription's end
// cut short may still fire, and end the next one early.
func (f *failureLog) end(topic, subscription string) {
	f.mu.Lock()
	if len(f.mu.kinds) == 0 {
		f.mu.Unlock()
		return
	}
	f.mu.timer.Stop()
	f.mu.unhook()
	kinds, others := f.mu.order, f.mu.others
	clear(f.mu.kinds)
	f.mu.order, f.mu.others = nil, repeats{}
	f.mu.Unlock()

	for _, r := range kinds {
		if r.n > 0 {
			f.summarise(r.kind.what+" again", topic, subscription, r,
				zap.String("next", r.kind.next), zap.String("error", r.kind.cause))
		}
	}
	if others.n > 0 {
		f.summarise("handler failed in other ways", topic, subscription, &others,
			zap.String("last_error", others.kind.cause))
	}
}

func (f *failureLog) summarise(msg, topic, subscription string, r *repeats, more ...zap.Field) {
	fields := append([]zap.Field{
		zap.String("topic", topic), zap.String("subscription", subscription),
		zap.Int("times", r.n), zap.Duration("within", time.Since(r.began)),
	}, more...)
	if !r.lastID.IsZero() {
		fields = append(fields, zap.Stringer("last_id", r.lastID))
	}
	f.log.Log(r.level, msg, append(fields, zap.Int("last_attempt", r.attempt))...)
}
