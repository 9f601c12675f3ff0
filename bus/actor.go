package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/cenkalti/backoff/v4"
	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

// Actor is the behaviour of one key. What Handle and Stop close over is its state, which nothing
// else touches. Both run on the key's lane, one at a time.
type Actor[T any] struct {
	// Handle takes the key's next event. Its error means what a handler's does. Required.
	Handle func(ctx context.Context, event T) error

	// Stop is called when the actor is passivated, or when its subscription ends, but not after it
	// panicked. It may save state. Its context is live then, for Config.Grace. Its error or panic
	// is logged. nil is allowed.
	//
	// Of a durable topic it is called, too, before the bus gives the key's partition back, so that the
	// actor that another bus builds finds the state. When the partition was lost the actor is dropped
	// without it: another one may have the key already.
	Stop func(ctx context.Context) error
}

// Bounds of an actor that can't be built, or panics.
const (
	maxActorAttempts = 5
	minRestartDelay  = 100 * time.Millisecond
	maxRestartDelay  = 30 * time.Second
)

// ErrNoKey: an event for keyed actors came without a key.
var ErrNoKey = errors.New("event has no key")

// Spawn subscribes keyed actors: build is called for each key when its first event comes, and again
// after the actor was passivated or panicked. The topic must have a Key; an event whose key is
// empty is a dead letter with ErrNoKey.
//
// An actor that panics, or can't be built, is dropped; its key waits, with a back-off, and the
// event is tried again with a new one, at most 5 times in all before it is a dead letter. Other
// keys go on meanwhile. An idle actor costs memory only; see [IdleTimeout] and [MaxActors].
//
// On a durable topic the actors of a [Group] are spread over buses that share the log, each of which has
// one subscription of the group. See [Actor] for what becomes of the state when a partition moves.
//
// Spawn returns, and ctx and name mean, what they do with [Topic.Subscribe].
func (t *Topic[T]) Spawn(ctx context.Context, name string, build func(ctx context.Context, key string) (Actor[T], error), opts ...ActorOption) (*Subscription, error) {
	c, err := t.newActorSet(ctx, name, build, opts)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, c.handle, c.opts, special[T]{hook: c, given: build})
}

// newActorSet checks what Spawn and its like were given, and makes the set.
func (t *Topic[T]) newActorSet(ctx context.Context, name string, build func(ctx context.Context, key string) (Actor[T], error), opts []ActorOption) (*actorSet[T], error) {
	if err := given(ctx, build == nil); err != nil {
		return nil, err
	}
	if t.info.key == nil {
		return nil, fmt.Errorf("%w: keyed actors need TopicConfig.Key", ErrInvalidConfig)
	}
	o, err := newOptions(opts, ActorOption.applyActor)
	switch {
	case err != nil:
		return nil, err
	case o.grouped && t.info.remote:
		return nil, ErrGroupTransport
	case o.grouped && !t.info.durable:
		return nil, fmt.Errorf("%w; the keys of actors are divided among Lanes, and a Group of them is for several buses", ErrNotDurable)
	}
	return &actorSet[T]{
		build: build, opts: o, byLane: make([]laneActors[T], o.lanes),
		grace: t.bus.grace, base: context.WithoutCancel(ctx),
		log: t.bus.log.With(zap.String("topic", t.info.name), zap.String("subscription", name)),
	}, nil
}

// actorSet is the actors of a subscription.
type actorSet[T any] struct {
	build  func(ctx context.Context, key string) (Actor[T], error)
	opts   *subscribeOptions
	byLane []laneActors[T] // by lane; only the lane's goroutine uses its own
	grace  time.Duration
	base   context.Context // of Stop
	log    *zap.Logger
}

// laneActors is the actors of one lane, in a list from the one used last to the one idle for
// longest.
type laneActors[T any] struct {
	actors map[string]*actorCell[T]
	ends   actorCell[T] // next is the first of the list, prev the last
	// period counts the ticks of half an idle timeout. An actor remembers the one of its last
	// event, which saves reading the clock for each.
	period uint64
	timer  *time.Timer
	key    keyBuffer
}

// find is the actor of the key of an event; nil if there is none yet. keyed is false for an event
// without a key.
func (tr *laneActors[T]) find(d *Delivery) (m *actorCell[T], keyed bool) {
	if d.info.appendKey == nil || d.head.seq == 0 {
		key := d.Key()
		return tr.actors[key], key != ""
	}
	d.used("Delivery.Key")
	key := d.info.appendKey(tr.key.room[:0], d.value)
	tr.key.fit(key)
	return tr.actors[string(key)], len(key) > 0 // which makes no string
}

// actorCell is one actor in the list of its lane.
type actorCell[T any] struct {
	Actor[T]
	key        string
	period     uint64
	pin        consumer.Pin // of a durable topic
	prev, next *actorCell[T]
}

func (m *actorCell[T]) unlink() { m.prev.next, m.next.prev = m.next, m.prev }

// use puts m first.
func (tr *laneActors[T]) use(m *actorCell[T]) {
	m.period = tr.period
	first := tr.ends.next
	m.prev, m.next = &tr.ends, first
	first.prev, tr.ends.next = m, m
}

// handle is the subscription's handler.
func (c *actorSet[T]) handle(ctx context.Context, d *Delivery) (err error) {
	if err := d.Decode(nil); err != nil {
		return err
	}
	tr := &c.byLane[d.lane]
	m, found := tr.find(d)
	if !found {
		return DeadLetter(&Error{Op: "handle", Topic: d.info.name, Subscription: d.sub, Err: ErrNoKey})
	}
	if m != nil && d.info.durable && !m.pin.Holds(d.head.env.Extra.(*consumer.Event)) {
		c.leave(tr, m)
		m = nil
	}
	if m == nil {
		if m, err = c.spawn(ctx, d, d.Key()); err != nil {
			return c.again(d, err)
		}
	} else {
		m.unlink()
		tr.use(m)
	}
	finished := false
	defer func() {
		if finished {
			return
		}
		c.drop(tr, m) // its state can't be trusted any more
		if r := recover(); r != nil {
			err = c.again(d, &PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	err = m.Handle(ctx, *d.value.(*T))
	finished = true
	return err
}

// spawn builds the actor of a key.
func (c *actorSet[T]) spawn(ctx context.Context, d *Delivery, key string) (m *actorCell[T], err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &PanicError{Value: r, Stack: debug.Stack()}
		}
	}()
	tr := &c.byLane[d.lane]
	for len(tr.actors) >= max(1, c.opts.maxActive/len(c.byLane)) {
		c.passivate(tr, tr.ends.prev)
	}
	a, err := c.build(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("building the actor of key %q: %w", key, errguard.Safe(err))
	}
	if a.Handle == nil {
		return nil, fmt.Errorf("building the actor of key %q: %w", key, ErrNilHandler)
	}
	if tr.actors == nil {
		tr.actors = make(map[string]*actorCell[T])
		tr.ends.prev, tr.ends.next = &tr.ends, &tr.ends
	}
	m = &actorCell[T]{Actor: a, key: key}
	if d.info.durable {
		m.pin = d.head.env.Extra.(*consumer.Event).Pin()
	}
	tr.actors[key] = m
	tr.use(m)
	return m, nil
}

func (c *actorSet[T]) remove(tr *laneActors[T], m *actorCell[T]) {
	m.unlink()
	delete(tr.actors, m.key)
}

// drop lets go of an actor without its Stop.
func (c *actorSet[T]) drop(tr *laneActors[T], m *actorCell[T]) {
	c.remove(tr, m)
	m.pin.Unpin()
}

// leave lets go of an actor whose lease is over.
func (c *actorSet[T]) leave(tr *laneActors[T], m *actorCell[T]) {
	if m.pin.Lost() {
		c.drop(tr, m)
		return
	}
	c.passivate(tr, m)
}

// onReturn lets go of the actors whose leases are over.
func (c *actorSet[T]) onReturn(lane int) {
	tr := &c.byLane[lane]
	for m := tr.ends.prev; len(tr.actors) > 0 && m != &tr.ends; {
		before := m.prev
		if m.pin.Over() {
			c.leave(tr, m)
		}
		m = before
	}
}

// again is the verdict on an event whose actor failed. A verdict that was returned by build stands.
func (c *actorSet[T]) again(d *Delivery, err error) error {
	if _, decided := VerdictOf(err); decided {
		return err
	}
	if d.attempt >= maxActorAttempts {
		return DeadLetter(fmt.Errorf("given up after %d attempts: %w", d.attempt, err))
	}
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(min(maxRestartDelay, minRestartDelay<<(d.attempt-1))),
		backoff.WithMaxInterval(maxRestartDelay), backoff.WithMaxElapsedTime(0))
	return RetryAfter(b.NextBackOff(), err)
}

// onIdle sees to it that idle actors are looked for.
func (c *actorSet[T]) onIdle(lane int, signal func()) {
	tr := &c.byLane[lane]
	if c.opts.idleTimeout > 0 && len(tr.actors) > 0 && tr.timer == nil {
		tr.timer = time.AfterFunc(max(1, c.opts.idleTimeout/2), signal)
	}
}

// onTimer passivates what had no event for two whole periods.
func (c *actorSet[T]) onTimer(lane int) {
	tr := &c.byLane[lane]
	tr.timer = nil
	tr.period++
	for len(tr.actors) > 0 && tr.ends.prev.period+3 <= tr.period {
		c.passivate(tr, tr.ends.prev)
	}
}

// onEnd passivates all.
func (c *actorSet[T]) onEnd(lane int) {
	tr := &c.byLane[lane]
	if tr.timer != nil {
		tr.timer.Stop()
	}
	for len(tr.actors) > 0 {
		c.passivate(tr, tr.ends.prev)
	}
}

// passivate stops an actor and lets go of it.
func (c *actorSet[T]) passivate(tr *laneActors[T], m *actorCell[T]) {
	c.remove(tr, m)
	defer m.pin.Unpin()
	if m.Stop == nil || m.pin.Lost() {
		return
	}
	ctx, cancel := context.WithTimeout(c.base, c.grace)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			reportTo(c.log.With(zap.String("key", m.key)), "an actor's Stop", &usercode.PanicError{Value: r, Stack: debug.Stack()})
		}
	}()
	if err := m.Stop(ctx); err != nil {
		c.log.Error("an actor did not stop cleanly", zap.String("key", m.key), zap.Error(errguard.Safe(err)))
	}
}
