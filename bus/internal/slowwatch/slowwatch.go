// Package slowwatch reports attempts that run for too long, while they run.
package slowwatch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

// Config is what a [Watch] needs to know. All fields are needed.
type Config struct {
	Queue     *runqueue.Queue               // whose lanes are watched
	Work      context.Context               // ends with the bus
	Log       *zap.Logger                   // gets the reports
	After     time.Duration                 // how long an attempt may run
	InHandler func(functions []string) bool // see Lane.TakeSlow
}

// Watch reports attempts that run longer than Config.After.
//
// An event costs nothing: no attempt says when it begins. Instead a timer has the watch look,
// several times in that time, at the lanes that have a worker. A lane whose progress stays the same
// for long enough is slow. The timer runs only while there is a lane of which something new is to be
// expected. A lane that waits for ever (its handler was reported, or it is in an OnDeadLetter) is
// left alone until it says that it starts something. Otherwise the watch would keep an idle process,
// or a synctest bubble, busy.
type Watch struct {
	cfg    Config
	period time.Duration // between two looks
	keys   usercode.Calls

	// inspecting is held from before the lanes of a report are told to keep their events until those
	// have been read.
	inspecting sync.Mutex

	armed atomic.Bool // the timer runs, or a look is under way; written under mu
	// mu may be taken under the queue's lock. No other lock is taken under it.
	mu struct {
		sync.Mutex
		timer   *time.Timer
		again   bool          // something was started during a look
		off     bool          // for good
		looking chan struct{} // closed when the look under way ends; nil when there is none
		last    time.Time     // of a look, or of the arming before the first
	}

	seen map[runqueue.Runner]*progress // the look's own
}

// Lane is a Runner that is watched. Other Runners are not. All methods are called from the watch's
// goroutine.
type Lane interface {
	runqueue.Runner
	// Progress is a number that is another one for each attempt, and whether one is under way.
	Progress() (attempt uint64, busy bool)
	// NotifyNextStart has the lane call [Watch.NoteStart] when it starts its next attempt, or before.
	NotifyNextStart()
	// Inspect(true) has the lane keep the event that its handler is given: when the handler has
	// returned, the lane calls [Watch.AwaitInspection] before it clears that.
	Inspect(on bool)
	// TakeSlow counts the attempt that is under way as slow and describes it, or reports that it is
	// over. inHandler says that its goroutine was seen in the handler while Inspect was on.
	TakeSlow(attempt uint64, inHandler bool) (a Attempt, ok bool)
}

// Attempt is what a report says of an attempt.
type Attempt struct {
	Topic, Subscription string
	Lane                int
	Number              int
	Events              int           // of a batch, else 1
	Key                 func() string // may be the user's code; nil if the key is unknown
	KeyUnknown          string        // why
}

// progress is what the watch knows of a lane.
type progress struct {
	attempt uint64
	busy    bool
	age     time.Duration // for so long, or longer, nothing has changed
	looks   int           // at this
	told    bool
}

const (
	looksPerSlow = 8
	minPeriod    = 10 * time.Millisecond
)

// New makes a watch, and has the queue tell it of starts. It must be called before the queue is
// used.
func New(cfg Config) *Watch {
	w := &Watch{cfg: cfg, period: max(minPeriod, cfg.After/looksPerSlow)}
	cfg.Queue.Observe(w)
	return w
}

// RunnerStarts has the watch look after a period, if it does not already.
func (w *Watch) RunnerStarts() {
	if !w.armed.Load() {
		w.NoteStart()
	}
}

// NoteStart says that a lane which was left alone starts something.
func (w *Watch) NoteStart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.mu.off:
	case w.armed.Load() || w.mu.looking != nil:
		w.mu.again = true
	default:
		w.mu.last = time.Now()
		w.armLocked()
	}
}

func (w *Watch) armLocked() {
	w.armed.Store(true)
	if w.mu.timer == nil {
		w.mu.timer = time.AfterFunc(w.period, w.look)
	} else {
		w.mu.timer.Reset(w.period)
	}
}

// AwaitInspection waits while events of slow lanes are being read.
func (w *Watch) AwaitInspection() {
	w.inspecting.Lock()
	defer w.inspecting.Unlock()
}

// End ends the watch and waits for the look under way, as long as ctx lasts. A nil Watch has ended.
func (w *Watch) End(ctx context.Context) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	w.mu.off = true
	if w.mu.timer != nil {
		w.mu.timer.Stop()
	}
	looking := w.mu.looking
	w.mu.Unlock()
	if looking == nil {
		return nil
	}
	select {
	case <-looking:
		return nil
	case <-ctx.Done():
		return errguard.Safe(context.Cause(ctx))
	}
}

// watched is a lane that has a worker.
type watched struct {
	lane     Lane
	worker   uint32
	progress *progress
}

// look is the timer's.
func (w *Watch) look() {
	now := time.Now()
	w.mu.Lock()
	if w.mu.off {
		w.mu.Unlock()
		return
	}
	step := w.stepLocked(now)
	w.mu.last, w.mu.again = now, false
	done := make(chan struct{})
	w.mu.looking = done
	w.mu.Unlock()
	defer close(done)

	var lanes []watched
	for _, r := range w.cfg.Queue.Running() {
		if l, ok := r.Runner.(Lane); ok {
			lanes = append(lanes, watched{lane: l, worker: r.Worker})
		}
	}
	w.report(w.find(lanes, step), now)
	more := w.newIsExpected(quiescent(lanes))

	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.looking = nil
	if (more || w.mu.again) && !w.mu.off {
		w.armLocked()
	}
}

// newIsExpected tells whether the watch is to look again. From here on a lane that starts says so:
// either the queue lists it below, or it finds the watch not armed.
func (w *Watch) newIsExpected(quiet map[runqueue.Runner]bool) bool {
	w.armed.Store(false)
	for _, r := range w.cfg.Queue.Running() {
		if _, ok := r.Runner.(Lane); ok && !quiet[r.Runner] {
			return true
		}
	}
	return false
}

// stepLocked is for how much longer, since the last look, what runs has run. If the look comes much
// too late, the process stood still, and nothing ran.
func (w *Watch) stepLocked(now time.Time) time.Duration {
	step := now.Sub(w.mu.last)
	if step >= 2*w.period {
		return 0
	}
	return step
}

// find records what the lanes do, and returns those that have just become slow.
func (w *Watch) find(lanes []watched, step time.Duration) (slow []watched) {
	seen := make(map[runqueue.Runner]*progress, len(lanes))
	for i := range lanes {
		l := &lanes[i]
		l.progress = w.seen[l.lane]
		if l.progress == nil {
			l.progress = new(progress)
		}
		seen[l.lane] = l.progress
		if o := l.progress; o.see(l.lane, step) >= w.cfg.After && o.busy && !o.told {
			o.told = true
			slow = append(slow, *l)
		}
	}
	w.seen = seen
	return slow
}

// see looks at the lane, step after the last time, and returns for how long nothing has changed.
func (o *progress) see(l Lane, step time.Duration) time.Duration {
	attempt, busy := l.Progress()
	if o.looks == 0 || attempt != o.attempt || busy != o.busy {
		*o = progress{attempt: attempt, busy: busy}
	} else {
		o.age += step
	}
	o.looks++
	return o.age
}

// quiescent finds the lanes of which nothing new is to be expected before they say so: a slow
// attempt that was reported, or no attempt, but something that may take as long as it likes.
func quiescent(lanes []watched) map[runqueue.Runner]bool {
	quiet := make(map[runqueue.Runner]bool)
	for _, l := range lanes {
		o := l.progress
		if o.busy && !o.told || o.looks < 2 {
			continue
		}
		l.lane.NotifyNextStart()
		if attempt, busy := l.lane.Progress(); attempt == o.attempt && busy == o.busy { // after NotifyNextStart
			quiet[l.lane] = true
		}
	}
	return quiet
}
