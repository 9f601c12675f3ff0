package bus

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/usercode"
)

// slowWatch tells of attempts that run longer than Config.SlowHandler.
//
// An event costs nothing: no attempt says when it begins. Instead a timer has the watch look,
// several times in that time, what each lane with a goroutine is about. A lane whose
// progress is the same for long enough is slow. The timer runs only while there is a lane of
// which something new is to be expected. What waits for ever (a handler that was told of, an
// OnDeadLetter) is let alone, until the lane says that it starts something: else the watch
// would keep an idle process, or a synctest bubble, busy.
type slowWatch struct {
	runQueue *runQueue
	work     context.Context // the bus's own
	log      *zap.Logger
	after    time.Duration
	period   time.Duration // between two looks
	keys     usercode.Calls

	// inspecting is held from before ctlInspected is set until the events that it is set for
	// have been read.
	inspecting sync.Mutex

	// The run queue's lock covers these.
	timer   *time.Timer
	armed   bool          // the timer runs, or a look is under way
	again   bool          // a lane said that it starts something, during a look
	off     bool          // for good
	looking chan struct{} // closed when the look under way ends; nil when there is none
	last    time.Time     // of a look, or of the arming before the first

	observations map[*laneNode]*laneProgress // the look's own
}

// watched is a lane as the watch sees it.
type watched interface {
	// progress is a number that is another one for each attempt, and whether one is under way.
	progress() (attempt uint64, busy bool)
	// notifyNextStart has the run queue's watch armed when the lane starts its next attempt, or before.
	notifyNextStart()
	// inspect has the lane keep the event in hand as it is, when its handler has returned, until
	// the watch lets go of inspecting; or no longer.
	inspect(on bool)
	// takeSlow counts the attempt that is under way as slow and describes it, or reports that it
	// is over. kept says that inspect was seen to be on while the handler ran.
	takeSlow(attempt uint64, kept bool) (a slowAttempt, ok bool)
}

// slowAttempt is what is told of an attempt.
type slowAttempt struct {
	lane    int
	attempt int
	events  int           // of a batch, else 1
	key     func() string // may be the user's code; nil if unknown
	unknown string        // why
}

// laneProgress is what the watch knows of a lane.
type laneProgress struct {
	attempt uint64
	busy    bool
	age     time.Duration // for so long, or longer, nothing has changed
	looks   int           // at this
	told    bool
}

const (
	looksPerSlow = 8
	leastPeriod  = 10 * time.Millisecond
)

func newSlowWatch(b *Bus) *slowWatch {
	return &slowWatch{
		runQueue: &b.runQueue, work: b.work, log: b.log, after: b.cfg.SlowHandler,
		period: max(leastPeriod, b.cfg.SlowHandler/looksPerSlow),
	}
}

// armLocked has the watch look after a period, if it does not already. The run queue's lock is held.
func (w *slowWatch) armLocked() {
	if w.armed || w.off {
		return
	}
	w.armed, w.last = true, time.Now()
	w.startTimerLocked()
}

func (w *slowWatch) startTimerLocked() {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.period, w.look)
	} else {
		w.timer.Reset(w.period)
	}
}

// noteStart says that a lane which was let alone starts something.
func (c *runQueue) noteStart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watch; w.armed {
		w.again = true
	} else {
		w.armLocked()
	}
}

// endWatch ends the watch and waits for the look under way.
func (c *runQueue) endWatch(ctx context.Context) error {
	w := c.watch
	if w == nil {
		return nil
	}
	c.mu.Lock()
	w.off = true
	if w.timer != nil {
		w.timer.Stop()
	}
	looking := w.looking
	c.mu.Unlock()
	if looking == nil {
		return nil
	}
	select {
	case <-looking:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

// running is a lane with a goroutine.
type running struct {
	lane        watched
	node        *laneNode
	worker      uint32
	observation *laneProgress
}

// look is the timer's.
func (w *slowWatch) look() {
	now := time.Now()
	c := w.runQueue
	c.mu.Lock()
	if w.off {
		c.mu.Unlock()
		return
	}
	step := w.step(now)
	w.last, w.again = now, false
	done := make(chan struct{})
	w.looking = done
	var lanes []running
	for id, k := range c.mu.workers {
		if k.lane != nil {
			lanes = append(lanes, running{lane: k.lane, node: k.lane.laneNode(), worker: id})
		}
	}
	c.mu.Unlock()
	defer close(done)

	w.report(w.find(lanes, step), now)
	alone := quiescent(lanes)

	c.mu.Lock()
	defer c.mu.Unlock()
	w.looking = nil
	more := w.again
	for _, k := range c.mu.workers {
		more = more || k.lane != nil && !alone[k.lane.laneNode()]
	}
	if w.armed = more && !w.off; w.armed {
		w.startTimerLocked()
	}
}

// step is for how much longer, since the last look, what runs has run. If the look comes much
// too late, the process stood still, and nobody ran.
func (w *slowWatch) step(now time.Time) time.Duration {
	step := now.Sub(w.last)
	if step >= 2*w.period {
		return 0
	}
	return step
}

// find enters what the lanes are about, and returns those that have just become slow.
func (w *slowWatch) find(lanes []running, step time.Duration) (slow []running) {
	observations := make(map[*laneNode]*laneProgress, len(lanes))
	for i := range lanes {
		r := &lanes[i]
		s := w.observations[r.node]
		if s == nil {
			s = new(laneProgress)
		}
		if s.see(r.lane, step) >= w.after && s.busy && !s.told {
			s.told = true
			slow = append(slow, *r)
			slow[len(slow)-1].observation = s
		}
		r.observation = s
		observations[r.node] = s
	}
	w.observations = observations
	return slow
}

// see looks at the lane, step after the last time, and returns for how long nothing has
// changed.
func (s *laneProgress) see(l watched, step time.Duration) time.Duration {
	attempt, busy := l.progress()
	if s.looks == 0 || attempt != s.attempt || busy != s.busy {
		*s = laneProgress{attempt: attempt, busy: busy}
	} else {
		s.age += step
	}
	s.looks++
	return s.age
}

// quiescent finds the lanes of which nothing new is to be expected before they say so: a slow
// attempt that was told of, or no attempt, but what may take as long as it likes.
func quiescent(lanes []running) map[*laneNode]bool {
	alone := make(map[*laneNode]bool)
	for _, r := range lanes {
		s := r.observation
		if s.busy && !s.told || s.looks < 2 {
			continue
		}
		r.lane.notifyNextStart()
		if attempt, busy := r.lane.progress(); attempt == s.attempt && busy == s.busy { // after notifyNextStart
			alone[r.node] = true
		}
	}
	return alone
}

// report counts slow attempts and tells of them.
func (w *slowWatch) report(slow []running, now time.Time) {
	if len(slow) == 0 {
		return
	}
	attempts, stacks, err := w.inspect(slow)
	for i, r := range slow {
		a := attempts[i]
		if a == nil {
			continue // it has just returned
		}
		s := r.node.sub
		fields := []zap.Field{
			zap.String("topic", s.info.name), zap.String("subscription", s.name), zap.Int("lane", a.lane),
			zap.Int("attempt", a.attempt), zap.Duration("running_for", r.observation.age+time.Since(now)),
		}
		fields = append(fields, w.keyField(s, a))
		if a.events > 1 {
			fields = append(fields, zap.Int("events", a.events))
		}
		switch stack := stacks[r.worker]; {
		case stack != nil:
			state, frames := usercode.RunningFrames(stack)
			fields = append(fields, zap.String("state", state), zap.String("stack", frames))
		default:
			fields = append(fields, zap.String("stack_unknown", err))
		}
		w.log.Warn("a handler runs longer than Config.SlowHandler", fields...)
	}
}

// keyTimeout is how long the topic's Key function may take.
const keyTimeout = time.Second

// keyField is the attempt's key, or why that is unknown.
func (w *slowWatch) keyField(s *Subscription, a *slowAttempt) zap.Field {
	if a.key == nil {
		return zap.String("key_unknown", a.unknown)
	}
	ctx, cancel := context.WithTimeout(w.work, keyTimeout)
	defer cancel()
	key, err := usercode.Do(ctx, &w.keys, s.info.name, "the topic's Key", func(context.Context) (string, error) { return a.key(), nil }, nil)
	if err != nil {
		return zap.String("key_unknown", err.Error())
	}
	return zap.String("key", key)
}

// inspect reads what the slow lanes have in hand, nil for those that have done with it, and the
// stacks of their goroutines. Those that it has not are missing for the reason given.
//
// The events of a log lie where the lane's goroutine clears them when the handler has returned,
// without a lock. So, first, ctlInspected is set: the goroutine looks at that between the
// one and the other, as it does anyway, and then waits for the lock held here. Then the
// stacks show whether the goroutine was still in the handler after that was set.
func (w *slowWatch) inspect(slow []running) (attempts []*slowAttempt, stacks map[uint32][]byte, missing string) {
	w.inspecting.Lock()
	defer w.inspecting.Unlock()
	wanted := make(map[uint32]bool, len(slow))
	for _, r := range slow {
		r.lane.inspect(true)
		defer r.lane.inspect(false)
		wanted[r.worker] = true
	}
	stacks, missing = workerStacks(wanted)
	attempts = make([]*slowAttempt, len(slow))
	for i, r := range slow {
		if a, ok := r.lane.takeSlow(r.observation.attempt, handlerOn(stacks[r.worker])); ok {
			attempts[i] = &a
		}
	}
	if missing == "" {
		missing = "its goroutine was not found"
	}
	return attempts, stacks, missing
}
