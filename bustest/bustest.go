// Package bustest is a bus for unit tests of handlers, of middleware and of code that publishes.
// Such tests need neither a server nor a sleep.
//
// [New] makes a bus that lives as long as its test. Its events make the round trip through their
// codec, as they would through a server, and are recorded. [RequirePublished], [Handled],
// [DeadLettered] and their variants look at them typed; [WaitIdle], [WaitHandled] and
// [WaitPublished] wait for them. When the test is over the bus is closed. The test fails if
// anything of the bus is left running, if a ledger does not balance, if there is a dead letter that
// the test did not look at, or if middleware or a handler misused an event.
//
// With [InProcess] the bus has no transport: its events are typed and shared, as in a program whose
// events stay in it.
//
// [Bus.DropNext], [Bus.Disconnect], [Sever] and others do to a bus what brokers and networks do.
// [Call] runs one event through a handler and its middleware. [Delivery] makes a delivery for a
// middleware.
//
// All of it works inside a testing/synctest bubble, where retries, back-off and delays take no
// time.
package bustest

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/inspect"
)

// Bus is a bus under test. Give the *bus.Bus in it to the code under test. All methods are safe for
// concurrent use.
type Bus struct {
	*bus.Bus
	t         testing.TB
	opts      options
	mode      mode            // one of the two below
	transport *faultTransport // nil with InProcess
	local     *inProcess      // nil without
	log       *testLog
	store     *faultLog // of durable topics; nil where the Config has a Log
	view      inspect.Bus

	begun     atomic.Uint64 // attempts
	published publications

	// mu is taken inside other locks, and nothing inside it.
	mu struct {
		sync.Mutex
		published []publication       // in order
		attempts  []attempt           // that have ended
		subs      []*bus.Subscription // in order of Subscribe
		misuses   []string
		letters   []keptLetter // of durable topics
		expected  map[*bus.Delivery]struct{}
	}
}

// New makes a bus on a memory broker of its own, on that of [SharedWith], or [InProcess]. The bus logs to t. The
// test's clean-up closes it and then fails the test
//
//   - if goroutines of the bus are left: handlers that did not end with their context, shown with
//     their stacks, see [AllowGoroutines];
//   - if a ledger does not balance: a subscription's, or the numbers of arrived events and of gaps,
//     see [AllowUnbalanced];
//   - if a dead letter is left that no function of this package has returned, see
//     [AllowDeadLetters];
//   - if middleware or a handler misused an event, as bus.Config.Debug says, which is on: see
//     [AllowMisuse], [WithoutDebug].
func New(t testing.TB, opts ...Option) *Bus {
	t.Helper()
	b := &Bus{t: t}
	for i, opt := range opts {
		if opt == nil {
			t.Fatalf("bustest: option %d of New is nil", i)
		}
		opt.applyBus(&b.opts)
	}
	cfg := b.opts.config
	switch {
	case cfg.Transport != nil:
		t.Fatalf("bustest: the Config has a Transport; bustest brings its own")
	case b.opts.refusal != "":
		t.Fatalf("bustest: %s", b.opts.refusal)
	case b.opts.inProcess && b.opts.broker != nil:
		t.Fatalf("bustest: SharedWith needs a broker, and a bus InProcess has none: its events reach no other bus. Leave InProcess out")
	case b.opts.inProcess && b.opts.maxPayload != 0:
		t.Fatalf("bustest: MaxPayload needs a transport, and a bus InProcess has none: no event is encoded, so none is too large. Leave InProcess out")
	case b.opts.restart != nil && cfg.Log != nil:
		t.Fatalf("bustest: RestartOf brings a log, and the Config has one too")
	case b.opts.waitTimeout < 0:
		t.Fatalf("bustest: a WaitTimeout of %v is negative", b.opts.waitTimeout)
	}
	if b.opts.inProcess {
		b.local = newInProcess(b)
		b.mode = b.local
	} else {
		b.transport = newFaultTransport(b.opts.broker, b)
		b.mode, cfg.Transport = b.transport, b.transport
	}
	if cfg.Log == nil {
		b.store = newFaultLog(b)
		cfg.Log = b.store
	}
	if cfg.Logger == nil {
		b.log = &testLog{t: t}
		cfg.Logger = b.log.logger()
	}
	if cfg.Grace == 0 {
		cfg.Grace = b.waitTimeout() // on a machine that is busy with other tests
	}
	cfg.Debug = !b.opts.unchecked
	cfg.Use = append([]bus.Middleware{b.record}, cfg.Use...)
	inner, err := bus.New(cfg)
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	b.Bus = inner
	b.view = inspect.Of(inner)
	b.view.Watch(watcher{b})
	if b.transport != nil {
		b.transport.broker.join(b)
	}
	t.Cleanup(b.finish)
	return b
}

// watcher is told of the bus's subscriptions.
type watcher struct{ *Bus }

// Subscribed keeps the subscription: what has ended must balance too.
func (b watcher) Subscribed(sub any) {
	b.mu.Lock()
	b.mu.subs = append(b.mu.subs, sub.(*bus.Subscription))
	b.mu.Unlock()
	b.mode.notify()
}

// Published records an event. What goes through a transport is recorded there.
func (b watcher) Published(delivery any) { b.local.publish(delivery.(*bus.Delivery)) }

// DeadLettered keeps a dead letter of a durable topic.
func (b watcher) DeadLettered(sub, letter any) {
	b.keepLetter(sub.(*bus.Subscription), letter.(bus.Letter))
}

// Misused keeps a report for the clean-up.
func (b watcher) Misused(topic, subscription, what string) { b.misused(topic+"/"+subscription, what) }

func (b *Bus) misused(where, what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.misuses = append(b.mu.misuses, where+": "+what)
}

// Subscriptions lists the bus's subscriptions, those that have ended included, in the order of
// Subscribe.
func (b *Bus) Subscriptions() []*bus.Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mu.subs)
}

// Subscription returns the newest subscription of that name, for tests of code that does not show
// its subscriptions. It fails the test at once if there is none.
func (b *Bus) Subscription(topic, name string) *bus.Subscription {
	b.t.Helper()
	for _, s := range slices.Backward(b.Subscriptions()) {
		if s.Topic() == topic && s.Name() == name {
			return s
		}
	}
	b.t.Fatalf("bustest: nobody subscribed to %s as %q%s", topic, name, b.subscriptionList())
	return nil
}

func (b *Bus) subscriptionList() string {
	text := "; subscriptions:"
	for _, s := range b.Subscriptions() {
		text += " " + s.Topic() + "/" + s.Name()
	}
	return text
}

// encodes tells whether events of a topic make the round trip through their codec.
func (b *Bus) encodes(class bus.Class) bool { return b.transport != nil || class == bus.Durable }

// waitTimeout is how long a wait lasts before it fails the test.
func (b *Bus) waitTimeout() time.Duration {
	if b == nil || b.opts.waitTimeout == 0 {
		return defaultWaitTimeout()
	}
	return b.opts.waitTimeout
}
