package bus

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/slowwatch"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/logguard"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// Config configures a [Bus]. The zero value is an in-process bus that logs nothing.
type Config struct {
	// Transport carries events to other processes. nil, the default, keeps them in this one: typed,
	// not encoded, not copied. A Transport serves one bus. It stays the caller's to close, once the
	// bus has ended.
	Transport transport.Transport

	// Open makes the transport, in place of Transport. New calls it once, with a context that ends
	// after 30 s, and returns its error. The transport is the bus's: it is closed when the bus has
	// ended, before Shutdown, Close and Run return.
	Open func(ctx context.Context) (transport.Transport, error)

	// Log keeps the events of durable topics, see TopicConfig.Class: that of transport/file in one file,
	// for one process; that of transport/memory for tests. nil, the default, is the log that Transport
	// brings, if it has one; without any, a durable topic is ErrNoLog. A Log serves one bus. It stays the
	// caller's to close, once the bus has ended.
	Log transport.Log

	// MaxStarts is how often a handler is started for an event of a durable topic without any outcome,
	// because the process ended each time. After that the event is a dead letter with ErrCrashed. The
	// first start is not counted, since nobody wrote it down. Default 5.
	MaxStarts int

	// Hold makes New return a bus that takes nothing in before [Bus.Start] or [Bus.Run]: topics and
	// subscriptions can be made, and go to the transport together, at Start; Publish returns
	// ErrNotStarted. So a service declares all of its handlers and then begins, and no event meets a
	// part of them. Default false: the bus is open, and each subscription is live by itself.
	Hold bool

	// Logger gets what no callback of yours gets: dead letters without a callback, drops, gaps,
	// stopped subscriptions; see docs/logs.md. nil, the default, is silent. Its cores and hooks run
	// on goroutines of their own: a panic or runtime.Goexit of one is reported where the logger
	// reports write errors, and harms nothing else. The bus waits for each line, partly under
	// locks: a core must not block for long.
	Logger *zap.Logger

	// Use is middleware around every handler of the bus, the first outermost, outside that of a
	// subscription.
	Use []Middleware

	// UsePublish is middleware around Publish, PublishBatch, PublishMessages and Ask of every topic,
	// the first outermost, outside that of TopicConfig.UsePublish.
	UsePublish []PublishMiddleware

	// InboxBytes bounds, for each subscription, the memory of events off the transport that wait
	// for room in a mailbox with the policy Block. Events beyond it are dropped and reported as a
	// Gap. Default 16 MiB. It has no meaning without a Transport.
	InboxBytes int

	// Grace is how long Close waits for running handlers, whose contexts it has cancelled. Default
	// 5 s.
	Grace time.Duration

	// ShutdownTimeout is how long Run gives Shutdown when its context has ended. Default 25 s, which
	// is less than the 30 s that Kubernetes waits before it kills.
	ShutdownTimeout time.Duration

	// SlowHandler is how long an attempt may run before the bus reports it, once for each attempt:
	// a warning in the log with the topic, the subscription, the lane, the event's key, the
	// attempt's number and the stack of the handler's goroutine, and one more in Stats.Slow. So a
	// handler that hangs is seen while it hangs. Handlers of single events, batches, groups and
	// actors are watched, with their middleware; OnDeadLetter and an actor's Stop are not. A batch
	// is one attempt, reported with its first event's key. If the key can't be read without
	// disturbing the handler, the log says why.
	//
	// The bus looks eight times in SlowHandler, and at most each 10 ms, while handlers run. An
	// attempt that ran shorter is never reported; one that runs for a quarter longer always is.
	// Time in which the process stood still does not count. It costs nothing for an event.
	//
	// Default 10 s. Negative is off.
	SlowHandler time.Duration

	// Debug checks how middleware and handlers use events. It reports, as an error in the log and
	// once for each kind and place: a Delivery that is used after its attempt, or on another
	// goroutine; a middleware that calls next twice in one attempt, after it has returned, or on
	// another goroutine; one that returns nil without having called next, so that an event counts
	// as handled which no handler saw; and an event whose value or payload was changed.
	//
	// These are allowed, and not reported: not to call next and to return an error or a verdict,
	// [Discard] for example; to wrap the context; to pass on a Delivery of one's own. These are not
	// found: a pointer of [Value] or a payload that is read too late; a Delivery that one
	// lane's handler gives to another's; a change behind the length of a slice, in a struct that
	// has a lock of its own, or in an event of more than some 65,000 parts.
	//
	// Default false: nothing is checked, at no cost. It costs some 20 µs and a copy of the event
	// for each attempt, and reads, before and after each stage, all that the event points to. It is
	// for tests; bustest has it on.
	Debug bool
}

const (
	defaultInboxBytes = 16 << 20
	defaultGrace      = 5 * time.Second
	defaultSlow       = 10 * time.Second
)

// Bus connects topics to their subscriptions. All methods are safe for concurrent use.
type Bus struct {
	core
	cfg          Config
	transport    transport.Transport // nil in-process
	durable      *durability         // nil without a log
	topics       sync.Map            // name → topicHandle
	abandonedAny atomic.Bool         // it was ended with events pending

	// What runs besides handlers: the transport, under root, and the cleanup after subscriptions
	// that stopped.
	root     *supervisor.Supervisor
	work     context.Context
	stopWork context.CancelFunc
	working  sync.WaitGroup
	workers  atomic.Int64 // what working waits for
	tellers  atomic.Int64 // those of workers that call OnGap
	cleaning atomic.Int64 // topics that are being unsubscribed
	endMu    sync.Mutex   // held by end: who comes second returns when all is stopped
	served   error        // how the transport ended; to be read after working
	hold     hold
	life     life

	mu struct {
		sync.Mutex
		topicCount int
		publishers publishers
		fatal      error                              // the first: see fail
		stopped    map[subscriptionName]*Subscription // for their panics
		silent     bool                               // the transport has ended: no gap is told any more
		left       bool                               // every subscription was stopped: nothing is to be cleaned up any more
		last       []func(context.Context) error      // the cleanup at the end of the bus
		ending     map[*Subscription]struct{}         // left their topic, lanes not ended yet
	}
}

// New makes a bus. With a transport it starts to serve that, under a supervisor that restarts it
// whenever it fails; the first Subscribe or Publish returns its errors. Close or Shutdown ends the
// bus.
func New(cfg Config) (*Bus, error) {
	fail := func(format string, args ...any) (*Bus, error) {
		return nil, &Error{Op: "new", Err: ErrInvalidConfig, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case cfg.InboxBytes < 0:
		return fail("InboxBytes is %d, it must not be negative", cfg.InboxBytes)
	case cfg.Grace < 0:
		return fail("Grace is %v, it must not be negative", cfg.Grace)
	case cfg.ShutdownTimeout < 0:
		return fail("ShutdownTimeout is %v, it must not be negative", cfg.ShutdownTimeout)
	case cfg.Open != nil && cfg.Transport != nil:
		return fail("Transport and Open are set, choose one")
	case cfg.MaxStarts < 0:
		return fail("MaxStarts is %d, it must not be negative", cfg.MaxStarts)
	case cfg.InboxBytes == 0:
		cfg.InboxBytes = defaultInboxBytes
	}
	if cfg.Grace == 0 {
		cfg.Grace = defaultGrace
	}
	if cfg.ShutdownTimeout == 0 {
		cfg.ShutdownTimeout = defaultShutdownTimeout
	}
	if cfg.SlowHandler == 0 {
		cfg.SlowHandler = defaultSlow
	}
	for i, m := range cfg.Use {
		if m == nil {
			return fail("Use[%d] is nil", i)
		}
	}
	for i, m := range cfg.UsePublish {
		if m == nil {
			return fail("UsePublish[%d] is nil", i)
		}
	}
	b := &Bus{cfg: cfg, transport: cfg.Transport}
	b.work, b.stopWork = context.WithCancel(context.Background()) // ends with the bus: it has no parent
	b.life.fatal, b.life.done, b.hold.starting = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	if cfg.Open != nil {
		var err error
		if b.transport, err = b.openTransport(); err != nil {
			b.stopWork()
			return nil, &Error{Op: "new", Err: err}
		}
		b.life.owned = b.transport
	}
	b.id, b.log, b.remote, b.inboxBytes = newIncarnation(), logguard.Wrap(cfg.Logger), b.transport != nil, cfg.InboxBytes
	b.draining, b.closed = make(chan struct{}), make(chan struct{})
	if cfg.Hold {
		b.state.Store(stateHeld)
	}
	b.goroutines = b
	b.debug, b.grace = cfg.Debug, cfg.Grace
	b.mu.ending = make(map[*Subscription]struct{})
	b.mu.publishers.init(b.id, b.transport)
	if cfg.SlowHandler > 0 {
		b.slow = slowwatch.New(slowwatch.Config{
			Queue: &b.runQueue, Work: b.work, Log: b.log, After: cfg.SlowHandler, InHandler: handlerOn,
		})
	}
	if b.maxStarts = cfg.MaxStarts; b.maxStarts == 0 {
		b.maxStarts = defaultMaxStarts
	}
	b.durable = b.newDurability()
	if err := b.serve(); err != nil {
		b.stopWork()
		return nil, &Error{Op: "new", Err: errors.Join(errguard.Safe(err), b.closeOwned())}
	}
	return b, nil
}

// newIncarnation makes the publisher's name of a new bus: 65 random bits in 13 characters, so that
// no two buses, and no two lives of one, are taken for each other.
func newIncarnation() string {
	var b [9]byte
	rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:incarnationLen]
}

// ID is the bus's incarnation: the publisher that its events name. Those of a topic that was made again
// after Close may name it with a dot and a number behind.
func (b *Bus) ID() string { return b.id }
