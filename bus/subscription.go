package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/supervisor"
)

// Bits of a subscription's control word.
const (
	ctlPaused    uint32 = 1 << iota // start no handler
	ctlLeft                         // accepts no events any more
	ctlClosing                      // abandon what waits and end
	ctlReattach                     // a lane that runs dry returns to the topic's log
	ctlInspected                    // what a handler has in hand is being read: see awaitInspection
)

// Subscription is a handler with its mailbox and lanes: a supervised actor. All
// methods are safe for concurrent use.
type Subscription struct {
	bus    *Bus
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

// incidents is what most subscriptions never have; the subscription's lock covers
// it.
type incidents struct {
	err     error // why it ended
	letters deadLetters
	gaps    gapLog
	teller  *gapTeller          // of OnGap; made for the first gap
	panics  *supervisor.Passive // counts panics; made for the first
}

// incidentsLocked is the subscription's trouble, made if need be.
func (s *Subscription) incidentsLocked() *incidents {
	if s.mu.incidents == nil {
		s.mu.incidents = new(incidents)
	}
	return s.mu.incidents
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
}

// subscription is the typed half.
type subscription[T any] struct {
	Subscription
	topic     *Topic[T]
	handler   Handler
	hook      laneHook        // nil unless there are actors
	batch     batchHandler[T] // nil unless events are handled in batches
	group     *group[T]       // that it is a member or the head of, or nil
	leftGroup int             // the epoch of the group when it left, under the fan-out's lock; 0 if it did not
	times     atomic.Pointer[times]

	lanes  []*lane[T]   // each made when its first event comes, under the fan-out's lock
	first  [1]*lane[T]  // lanes, where there is one
	open   atomic.Int32 // lanes that have not closed
	plain  bool         // there is nothing around the handler
	asked  bool         // T is a Request
	sharer bool         // its lane reads the topic's log, unless events were put for it alone
	shares bool         // its lane does, under the fan-out's lock

	// The fan-out's, under its lock.
	tellDrops  bool // the log is to be told
	reserved   *lane[T]
	next       int
	crowdedOut uint64   // events that no mailbox had room for, in all lanes
	toldDrops  uint64   // of them the log knows
	inbox      *inbox   // of envelopes that any lane may take; nil without a transport
	marks      []uint64 // what Drain waits for, see catchUp
	missed     []Gap    // what of that had not come when it left
}

// special is what a subscription has besides a handler of single events, and what is
// known of that.
type special[T any] struct {
	hook    laneHook        // of actors
	batch   batchHandler[T] // of batches
	guarded bool            // the handler is, where there is middleware
	given   any             // the function of the user that handles; for Config.Debug
}

// laneHook looks after what a handler keeps for each lane: actors. The lane's
// goroutine calls it, with a context that outlasts the subscription's.
type laneHook interface {
	// onIdle is called when the lane runs dry, with a function that has tick
	// called soon.
	onIdle(lane int, signal func())
	onTimer(lane int)
	onEnd(lane int)
}

// Subscribe has h called for every event published from now on. It returns when
// the subscription is live; ctx bounds only the wait for that, but its values
// are those of the handlers' contexts. name is unique among the topic's
// subscriptions on this bus, and follows the rules of topic names.
//
// h is called from one goroutine for each lane (see [Lanes]), never twice at
// once for one key. See [Handler] for what its error means.
func (t *Topic[T]) Subscribe(ctx context.Context, name string, h func(ctx context.Context, event T) error, opts ...SubscribeOption) (*Subscription, error) {
	if err := given(ctx, h == nil); err != nil {
		return nil, t.subscribeError(name, err)
	}
	o, err := newOptions(opts, SubscribeOption.applySubscribe)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, eventHandler(h, !t.plain(o)), o, special[T]{guarded: true, given: h})
}

// SubscribeMessage is Subscribe for a handler that wants to know more of an
// event than its value.
func (t *Topic[T]) SubscribeMessage(ctx context.Context, name string, h func(ctx context.Context, m Message[T]) error, opts ...SubscribeOption) (*Subscription, error) {
	if err := given(ctx, h == nil); err != nil {
		return nil, t.subscribeError(name, err)
	}
	o, err := newOptions(opts, SubscribeOption.applySubscribe)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, func(ctx context.Context, d *Delivery) error {
		if d.encoded {
			if err := d.Decode(nil); err != nil {
				return err
			}
		}
		return h(ctx, message(d, *d.value.(*T)))
	}, o, special[T]{given: h})
}

// given says what a Subscribe was not given that it needs.
func given(ctx context.Context, nilHandler bool) error {
	switch {
	case nilHandler:
		return ErrNilHandler
	case ctx == nil:
		return ErrNilContext
	}
	return nil
}

func (t *Topic[T]) subscribeError(name string, err error) error {
	return &Error{Op: "subscribe to", Topic: t.info.name, Subscription: name, Err: err}
}

func (t *Topic[T]) subscribe(ctx context.Context, name string, h Handler, o *subscribeOptions, sp special[T]) (*Subscription, error) {
	if err := router.ValidName(name); err != nil {
		return nil, t.subscribeError(name, err)
	}
	if o.grouped && t.bus.transport != nil {
		return nil, t.subscribeError(name, ErrGroupTransport)
	}
	if o.policy == KeepLatest && t.cfg.Key == nil {
		return nil, t.subscribeError(name, fmt.Errorf("%w: the policy KeepLatest needs TopicConfig.Key", ErrNoKey))
	}
	s := &subscription[T]{topic: t, hook: sp.hook, batch: sp.batch}
	s.sharer = o.sharing(t.bus) && sp.batch == nil
	s.shares = s.sharer
	s.bus, s.info, s.name, s.opts, s.engine, s.actors = t.bus, t.info, name, o, s, sp.hook != nil
	if s.lanes = s.first[:]; o.lanes > 1 {
		s.lanes = make([]*lane[T], o.lanes)
	}
	if t.bus.transport != nil {
		s.inbox = new(inbox)
	}
	if s.mu.base = ctx; ctx.Done() != nil {
		s.mu.base = context.WithoutCancel(ctx)
	}
	s.plain = t.plain(o)
	if !s.plain && !sp.guarded {
		h = guard(h)
	}
	all, ofBus := slices.Concat(t.bus.cfg.Use, o.use), len(t.bus.cfg.Use)
	var err error
	if t.bus.cfg.Debug {
		s.handler, err = s.checked(h, sp.given, all, ofBus)
	} else {
		s.handler, err = chain(h, all, ofBus)
	}
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	if _, s.asked = any(new(T)).(request); s.asked {
		s.handler = replies(s.handler)
		s.plain = false
	}
	if err := t.attach(ctx, s); err != nil {
		return nil, t.subscribeError(name, err)
	}
	t.bus.noteSubscribed(&s.Subscription)
	if w := t.bus.watcher; w != nil {
		w.Subscribed(&s.Subscription)
	}
	return &s.Subscription, nil
}

// plain tells whether there is nothing around the handler of a subscription with these
// options.
func (t *Topic[T]) plain(o *subscribeOptions) bool { return len(t.bus.cfg.Use)+len(o.use) == 0 }

// attach makes s live, at the transport too if it is the topic's first.
func (t *Topic[T]) attach(ctx context.Context, s *subscription[T]) error {
	if t.link == nil {
		return t.fanout.add(s)
	}
	// The end of the bus ends the wait for its transport.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.bus.work, func() { cancel(ErrClosed) })()
	select {
	case t.link.turn <- struct{}{}:
		defer func() { <-t.link.turn }()
	case <-ctx.Done():
		return causeOf(ctx)
	}
	if err := t.fanout.add(s); err != nil {
		return err
	}
	if err := t.bus.transport.Subscribe(ctx, t.address()); err != nil {
		t.fanout.remove(s)
		s.stop(err)
		return err
	}
	t.fanout.subscribed()
	return nil
}

// log is the bus's logger, speaking of this subscription. It is made when it is
// needed: most subscriptions never log.
func (s *Subscription) log() *zap.Logger {
	return s.bus.log.With(zap.String("topic", s.info.name), zap.String("subscription", s.name))
}

// Name is the subscription's name.
func (s *Subscription) Name() string { return s.name }

// Topic is the name of its topic.
func (s *Subscription) Topic() string { return s.info.name }

// Pause has no further handler start until Resume; those that run finish.
// Events go on arriving, and the mailbox's policy acts. Drain and Shutdown lift
// a pause, and after them Pause does nothing.
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
	// Shutdown sets the state before it lifts pauses: either it sees this one,
	// or this sees the state.
	if s.bus.state.Load() != stateOpen {
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

// Err is why the subscription ended: nil while it has not begun to, and after
// Drain, Shutdown and Close; ErrPanicBudget, with the last panic, when its
// handler panicked too often.
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

// Drain ends the subscription in order: it accepts nothing any more, handles
// what it accepted, retries included, and returns nil when that is done. With a
// transport it first waits until it has what this bus published before the call;
// what has not come then is a Gap with the reason Ended, and in the error. When
// ctx ends first, handler contexts are cancelled, what waits is abandoned at once, and
// the error says how much, and how many handlers still run, as Stats does. From a
// handler or the OnGap of this subscription it is ErrWouldDeadlock.
func (s *Subscription) Drain(ctx context.Context) error {
	fail := func(err error, detail string) error {
		return &Error{Op: "drain", Topic: s.info.name, Subscription: s.name, Err: err, Detail: detail}
	}
	if ctx == nil {
		return fail(ErrNilContext, "")
	}
	if l := s.bus.runQueue.laneHere(); l != nil && l.sub == s {
		return fail(ErrWouldDeadlock, l.role()+" can't wait for its own subscription to drain; call it from another goroutine")
	}
	var lateErr error
	if s.bus.transport != nil {
		lateErr = s.engine.catchUp(ctx)
	}
	missed, leaveErr := s.engine.leave(ctx)
	for _, g := range missed {
		s.reportGap(g)
	}
	s.ctl.Or(ctlLeft)
	s.Resume()
	err := s.bus.changes.wait(ctx, func() bool { return s.Stats().Pending() == 0 })
	ctx, release := s.bus.unlessEnded(ctx)
	defer release()
	s.stop(nil)
	if err != nil {
		// What was handled by now was handled in time.
		if st := s.Stats(); st.Abandoned+st.Running > 0 {
			return fail(err, leftBehind(st))
		}
	}
	if err := s.awaitEnd(ctx); err != nil {
		return fail(err, "everything accepted was handled, but actors have not stopped")
	}
	if n := s.Stats().Abandoned; n > 0 {
		return fail(errors.Join(ErrClosed, s.Err()), fmt.Sprintf("it was ended meanwhile and abandoned %d events", n))
	}
	if lateErr != nil {
		return fail(lateErr, "everything else was handled")
	}
	if err := s.bus.changes.wait(ctx, s.gapsTold); err != nil {
		return fail(err, "everything accepted was handled, but OnGap has not been told of every gap")
	}
	if leaveErr != nil {
		return fail(leaveErr, "everything accepted was handled, but the transport did not unsubscribe")
	}
	return nil
}

// leftBehind says what a subscription that was stopped abandoned, and what still runs.
func leftBehind(st Stats) string {
	text := fmt.Sprintf("%d events abandoned", st.Abandoned)
	if st.Running > 0 {
		text += fmt.Sprintf(", %d still running", st.Running)
	}
	return text
}

// awaitEnd waits until a subscription that was stopped with nothing pending has
// ended. Its lanes only have to say so, whatever ctx says, unless there are
// actors: their Stop is user code, and may outlast ctx.
func (s *Subscription) awaitEnd(ctx context.Context) error {
	if !s.actors {
		<-s.Done()
		return nil
	}
	select {
	case <-s.Done():
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

// stop ends the subscription at once: handler contexts end, what waits is
// abandoned. It does not wait. It reports whether this call stopped it: the first
// err stays.
func (s *Subscription) stop(err error) bool {
	s.mu.Lock()
	stopped := s.mu.stopped
	s.mu.stopped = true
	if !stopped && err != nil {
		s.incidentsLocked().err = err
	}
	s.mu.Unlock()
	if stopped {
		return false
	}
	s.ctl.Or(ctlLeft)
	s.engine.leaveNow()
	s.engine.closeLanes()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.cancel != nil {
		s.mu.cancel(ErrClosed)
	}
	return true
}

// context is the parent of the lanes' contexts.
func (s *Subscription) context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.ctx == nil {
		s.mu.ctx, s.mu.cancel = context.WithCancelCause(s.mu.base)
	}
	return s.mu.ctx
}

// laneContext is a handler's context: it knows its lane. There is one for each
// lane, not for each event.
type laneContext struct {
	context.Context
	node *laneNode
}

type laneKey struct{}

func (c *laneContext) Value(key any) any {
	if key == (laneKey{}) {
		return c.node
	}
	return c.Context.Value(key)
}

// callerLane is the lane whose handler was given ctx or its parent, or nil.
func callerLane(ctx context.Context) *laneNode {
	if ctx == nil { // of a Publish that has not waited yet
		return nil
	}
	l, _ := ctx.Value(laneKey{}).(*laneNode)
	return l
}
