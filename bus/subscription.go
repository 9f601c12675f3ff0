package bus

import (
	"context"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/supervisor"
)

// Subscription is a handler with its mailbox and lanes: a supervised actor. All methods are safe
// for concurrent use.
type Subscription struct {
	core   *core
	host   subscriptionHost
	info   *topicInfo
	name   string
	opts   *subscribeOptions
	engine engine
	ctl    atomic.Uint32
	actors bool // its lanes stop actors as they end

	mu struct {
		sync.Mutex
		stopped   bool
		ended     bool
		ctx       context.Context // of handlers; made for the first lane
		cancel    context.CancelCauseFunc
		base      context.Context // of Subscribe, without its end
		done      chan struct{}   // made for whoever asks
		incidents *incidents      // made for the first
	}
}

// incidents is what most subscriptions never have; the subscription's lock covers it.
type incidents struct {
	err     error // why it ended
	letters deadLetters
	gaps    gapLog
	teller  *gapTeller          // of OnGap; made for the first gap
	panics  *supervisor.Passive // counts panics; made for the first
}

// incidentsLocked is the subscription's incidents, made if need be.
func (s *Subscription) incidentsLocked() *incidents {
	if s.mu.incidents == nil {
		s.mu.incidents = new(incidents)
	}
	return s.mu.incidents
}

// subscriptionHost is the bus of a subscription, for what is rare.
type subscriptionHost interface {
	// remember has the bus know s also when it has left its topic; it comes before that. forget is
	// called when s has ended.
	remember(s *Subscription)
	forget(s *Subscription)
	// noteStopped has Health tell that s was stopped for its panics.
	noteStopped(s *Subscription)
	// fail has Run end the bus.
	fail(err error)
}

// engine is the typed half of a subscription.
type engine interface {
	stats() Stats
	catchUp(ctx context.Context) error
	leave(ctx context.Context) (missed []Gap, err error)
	leaveNow() (was bool)
	closeLanes()
	signalLanes()
	laneStates() map[int]supervisor.State
	busyLocked() bool
	replay(ctx context.Context, d *Delivery) error
	replayed()
	// Of a durable topic. returnUnstarted has what is not started go back to the log, as the bus ends, and
	// releaseLog waits until the log knows of all the rest.
	returnUnstarted()
	releaseLog(ctx context.Context) error
	// standby and held tell whether, and of which partitions, the bus has leases for it.
	standby() bool
	held() []int
}

// log is the bus's logger, speaking of this subscription. It is made when it is needed: most
// subscriptions never log.
func (s *Subscription) log() *zap.Logger {
	return s.core.log.With(zap.String("topic", s.info.name), zap.String("subscription", s.name))
}

// Name is the subscription's name.
func (s *Subscription) Name() string { return s.name }

// Topic is the name of its topic.
func (s *Subscription) Topic() string { return s.info.name }

// Pause starts no further handler until Resume; those that run finish. Events go on arriving, and
// the mailbox's policy acts; those of a durable topic stay in the log beyond what the mailboxes hold.
// Drain and Shutdown lift a pause, and after them Pause does nothing.
func (s *Subscription) Pause() {
	for {
		ctl := s.ctl.Load()
		if ctl&ctlLeft != 0 {
			return
		}
		if s.ctl.CompareAndSwap(ctl, ctl|ctlPaused) {
			break
		}
	}
	// Shutdown sets the state before it lifts pauses: either it sees this one, or this sees the
	// state.
	if !s.core.takesTopics() {
		s.Resume()
	}
}

// Resume ends a Pause.
func (s *Subscription) Resume() {
	s.ctl.And(^ctlPaused)
	s.engine.signalLanes()
}

// Done is closed when the subscription has ended and none of its handlers runs.
func (s *Subscription) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.done == nil {
		s.mu.done = make(chan struct{})
		if s.mu.ended {
			close(s.mu.done)
		}
	}
	return s.mu.done
}

func (s *Subscription) hasEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.ended
}

// closeDone says that the subscription has ended.
func (s *Subscription) closeDone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.ended = true
	if s.mu.done != nil {
		close(s.mu.done)
	}
}

// Err is why the subscription ended: nil before it begins to end, and after Drain, Shutdown and
// Close; ErrPanicBudget, with the last panic, when its handler panicked too often.
func (s *Subscription) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.incidents == nil {
		return nil
	}
	return s.mu.incidents.err
}

// Stats reads the subscription's counters, all at one moment.
func (s *Subscription) Stats() Stats { return s.engine.stats() }

// context is the parent of the lanes' contexts.
func (s *Subscription) context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.ctx == nil {
		s.mu.ctx, s.mu.cancel = context.WithCancelCause(s.mu.base)
	}
	return s.mu.ctx
}

// subscriptionName tells a subscription from all others that are live.
type subscriptionName struct{ topic, subscription string }
