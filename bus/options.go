package bus

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Policy decides what becomes of an event that finds a mailbox full.
type Policy uint8

const (
	// Block lets an in-process publisher wait for room. Nothing is lost. An event off a transport
	// waits in the bus's inbox, see Config.InboxBytes.
	Block Policy = iota
	// DropOldest gives up the event that has waited longest.
	DropOldest
	// DropNewest gives up the event that arrives.
	DropNewest
	// Fail makes Publish return ErrMailboxFull; the event enters no mailbox of any subscription.
	// For events off a transport it acts as DropNewest, since no caller could be told.
	Fail
	// KeepLatest keeps only the latest waiting event of each key: an event that arrives takes the
	// place in line of the one of its key, which is given up, whether the mailbox is full or not.
	// So capacity bounds the keys that wait. When it is reached, an event of one more key gives up
	// the event that is first in line. An event whose key is empty replaces none. It needs
	// TopicConfig.Key.
	KeepLatest
)

var policyNames = [...]string{Block: "Block", DropOldest: "DropOldest", DropNewest: "DropNewest", Fail: "Fail", KeepLatest: "KeepLatest"}

func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// evicts tells whether the policy gives up events that wait.
func (p Policy) evicts() bool { return p == DropOldest || p == KeepLatest }

// Defaults and bounds of the subscribe options.
const (
	defaultCapacity  = 1024
	defaultMaxParked = 1024
	maxLanes         = 1024
	maxCapacity      = 1 << 24
	defaultBatchSize = 100
	maxBatchSize     = 10_000

	defaultPanics = 100
	defaultWithin = 10 * time.Second

	defaultIdleTimeout = time.Minute
	defaultMaxActive   = 1 << 20
)

// SubscribeOption configures one subscription of Subscribe or SubscribeMessage.
type SubscribeOption interface{ applySubscribe(*subscribeOptions) }

// BatchOption configures one subscription of SubscribeBatch.
type BatchOption interface{ applyBatch(*subscribeOptions) }

// ActorOption configures one subscription of Spawn.
type ActorOption interface{ applyActor(*subscribeOptions) }

// Option configures a subscription of any kind.
type Option interface {
	SubscribeOption
	BatchOption
	ActorOption
}

type subscribeOptions struct {
	lanes       int
	capacity    int
	policy      Policy
	maxDeferred int
	panics      int
	within      time.Duration
	fatal       bool // its PanicBudget ends the bus
	use         []Middleware

	idleTimeout time.Duration // of actors; 0 is never
	maxActive   int

	batchSize int // 0 is the default
	linger    time.Duration

	group   string
	grouped bool

	start      transport.Start // of a consumer that is new
	startGiven bool

	onDeadLetter func(context.Context, Letter)
	onGap        func(Gap)
}

// wakeRoom is how many places a blocked publisher waits for at first.
func (o *subscribeOptions) wakeRoom() int { return max(1, o.capacity/2) }

type option func(*subscribeOptions)

func (f option) applySubscribe(o *subscribeOptions) { f(o) }
func (f option) applyBatch(o *subscribeOptions)     { f(o) }
func (f option) applyActor(o *subscribeOptions)     { f(o) }

type batchOption func(*subscribeOptions)

func (f batchOption) applyBatch(o *subscribeOptions) { f(o) }

type actorOption func(*subscribeOptions)

func (f actorOption) applyActor(o *subscribeOptions) { f(o) }

// Lanes lets the subscription handle up to n events at once: 1 to 1024, default 1. With one lane
// events are handled in the order of each publisher. With more they are handled in order within
// each key; events without a key have no order.
func Lanes(n int) Option {
	return option(func(o *subscribeOptions) { o.lanes = n })
}

// Mailbox bounds the events that wait in each lane, not counting the one being handled, and sets
// the policy for those beyond. Default 1024, Block. Memory is taken as it is needed. A durable topic has
// Block alone: what has no room stays in the log, and publishers do not wait.
func Mailbox(capacity int, policy Policy) Option {
	return option(func(o *subscribeOptions) { o.capacity, o.policy = capacity, policy })
}

// MaxDeferred bounds the events of each lane that wait for another attempt, or behind one of their
// key that does. Default 1024. At the bound the lane takes no new events until one is settled. Of a
// durable topic a lane also takes over what an earlier holder had deferred, though it be more.
func MaxDeferred(n int) Option {
	return option(func(o *subscribeOptions) { o.maxDeferred = n })
}

// Use adds middleware around the handler, the first outermost, inside that of Config.Use. When it
// is repeated, it adds further in.
func Use(middleware ...Middleware) Option {
	return option(func(o *subscribeOptions) { o.use = append(o.use, middleware...) })
}

// PanicBudget stops the subscription, with ErrPanicBudget, at the first panic beyond n within the
// given time. Default 100 in 10 s; n = 0 stops it at the first panic.
func PanicBudget(n int, within time.Duration) Option {
	return option(func(o *subscribeOptions) { o.panics, o.within = n, within })
}

// Fatal makes the end of the subscription by its [PanicBudget] the end of [Bus.Run], which then shuts
// the bus down and returns that error. Without it the bus goes on, and Health tells.
func Fatal() Option {
	return option(func(o *subscribeOptions) { o.fatal = true })
}

// OnDeadLetter calls f for each dead letter with the handler's context, so that it may publish the
// letter elsewhere. It runs on the lane's goroutine: the lane waits for it, and so do Drain and
// Shutdown, since the event counts as running until f returns. A panic of f is logged. Of a durable topic
// f runs before the log has the letter: after a crash it may be called for it again.
func OnDeadLetter(f func(ctx context.Context, l Letter)) Option {
	return option(func(o *subscribeOptions) { o.onDeadLetter = f })
}

// OnGap calls f for each gap, one at a time and in the order in which they were found, on a
// goroutine of the bus that holds no lock: f may block, ask the transport, publish, subscribe. A
// gap that continues the one before it, while that waits, is told as one with it. If more than
// 1,024 wait, those beyond are told as one gap for each partition, kind and reason, whose Count is
// right and whose Publisher, Epoch, From and To are zero; none is left out. [Subscription.Gaps] and
// [Stats] know each gap before f does. A panic or runtime.Goexit of f is logged, and f is called
// for the next gap.
//
// Drain, Shutdown and Close wait, within their own bounds, until every gap was told. Inside f,
// Drain of its own subscription and Shutdown return ErrWouldDeadlock; another goroutine may call
// them. What a transport reports after its Serve has returned is not told.
func OnGap(f func(Gap)) Option {
	return option(func(o *subscribeOptions) { o.onGap = f })
}

// IdleTimeout passivates an actor (its Stop is called and its memory freed) when no event came for
// its key for d, or up to half of d longer. Default 1 minute; 0 is never.
func IdleTimeout(d time.Duration) ActorOption {
	return actorOption(func(o *subscribeOptions) { o.idleTimeout = d })
}

// MaxActors bounds the actors of the subscription. If one more is needed, the actor of its lane
// that was idle for longest is passivated. The bound is divided among the lanes. Default 1,048,576.
func MaxActors(n int) ActorOption {
	return actorOption(func(o *subscribeOptions) { o.maxActive = n })
}

// BatchSize bounds the events of a batch: 1 to 10,000. They wait in the mailbox and may all have to
// be deferred, so it must not be more than Mailbox and MaxDeferred allow. Default 100, or what
// those allow. While events are deferred a batch is no larger than the room left beside them.
func BatchSize(n int) BatchOption {
	return batchOption(func(o *subscribeOptions) {
		if o.batchSize = n; n == 0 {
			o.batchSize = -1 // 0 is no default, but out of bounds
		}
	})
}

// BatchLinger lets a batch that is not full wait for more events, until d has passed since its
// first was found waiting: when it came, or, if it came while another batch was handled, when that
// was done or at most that much earlier. Default 0: whatever waits is taken at once. That keeps the
// latency of single events low and still makes batches large under load, since events gather while
// one is handled. A linger pays when a call is expensive and events are few. Drain and Shutdown
// don't linger.
func BatchLinger(d time.Duration) BatchOption {
	return batchOption(func(o *subscribeOptions) { o.linger = d })
}

// defaultOptions is never changed: subscriptions without options share it.
var defaultOptions = subscribeOptions{
	lanes: 1, capacity: defaultCapacity, maxDeferred: defaultMaxParked,
	panics: defaultPanics, within: defaultWithin,
	idleTimeout: defaultIdleTimeout, maxActive: defaultMaxActive, batchSize: defaultBatchSize,
}

// newOptions is the defaults with opts, which apply applies.
func newOptions[O comparable](opts []O, apply func(O, *subscribeOptions)) (*subscribeOptions, error) {
	if len(opts) == 0 {
		return &defaultOptions, nil
	}
	o := new(subscribeOptions)
	*o = defaultOptions
	o.batchSize = 0
	var none O
	for i, opt := range opts {
		if opt == none {
			return nil, fmt.Errorf("%w: subscribe option %d is nil", ErrInvalidConfig, i)
		}
		apply(opt, o)
	}
	return o, o.validate()
}

func (o *subscribeOptions) validate() error {
	within := func(what string, v, lo, hi int) error {
		if v < lo || v > hi {
			return fmt.Errorf("%w: %s is %d, allowed are %d to %d", ErrInvalidConfig, what, v, lo, hi)
		}
		return nil
	}
	if err := within("Lanes", o.lanes, 1, maxLanes); err != nil {
		return err
	}
	if err := within("Mailbox capacity", o.capacity, 1, maxCapacity); err != nil {
		return err
	}
	if err := within("MaxDeferred", o.maxDeferred, 1, maxCapacity); err != nil {
		return err
	}
	if err := within("PanicBudget", o.panics, 0, maxCapacity); err != nil {
		return err
	}
	if err := within("MaxActors", o.maxActive, 1, math.MaxInt32); err != nil {
		return err
	}
	if o.idleTimeout < 0 {
		return fmt.Errorf("%w: IdleTimeout is %v, it must not be negative", ErrInvalidConfig, o.idleTimeout)
	}
	if o.within <= 0 {
		return fmt.Errorf("%w: the time of PanicBudget is %v, it must be positive", ErrInvalidConfig, o.within)
	}
	if int(o.policy) >= len(policyNames) {
		return fmt.Errorf("%w: %v is no mailbox policy", ErrInvalidConfig, o.policy)
	}
	if err := o.validateBatch(); err != nil {
		return err
	}
	if o.grouped {
		if err := router.ValidName(o.group); err != nil {
			return fmt.Errorf("group %q: %w", o.group, err)
		}
	}
	for i, m := range o.use {
		if m == nil {
			return fmt.Errorf("%w: middleware %d is nil", ErrInvalidConfig, i)
		}
	}
	return nil
}

func (o *subscribeOptions) validateBatch() error {
	room := min(o.capacity, o.maxDeferred)
	switch {
	case o.batchSize != 0 && (o.batchSize < 1 || o.batchSize > maxBatchSize):
		return fmt.Errorf("%w: BatchSize is %d, allowed are 1 to %d", ErrInvalidConfig, max(0, o.batchSize), maxBatchSize)
	case o.batchSize > room:
		return fmt.Errorf("%w: BatchSize is %d, but the mailbox holds %d and MaxDeferred is %d: both must hold a batch",
			ErrInvalidConfig, o.batchSize, o.capacity, o.maxDeferred)
	case o.batchSize == 0:
		o.batchSize = min(defaultBatchSize, room)
	}
	if o.linger < 0 {
		return fmt.Errorf("%w: BatchLinger is %v, it must not be negative", ErrInvalidConfig, o.linger)
	}
	return nil
}
