package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// ErrNotReady: the bus can't do all of its work at this moment.
var ErrNotReady = errors.New("not ready")

// Health is the state of a bus at one moment, with the answers for probes: Ready and Live.
type Health struct {
	// Held: the bus has Config.Hold and is not started.
	Held bool
	// Draining: the bus shuts down, and takes events of its own handlers only. Closed: it has
	// ended.
	Draining, Closed bool
	// Transport is the transport's name; empty in one process. Log is the name of the log of durable
	// topics; empty where there is none.
	Transport, Log string
	// Down is what of the transport and of the log does not work, such as a shard whose primary is
	// dead, or a disk that is full; nil if all does.
	Down []transport.Part
	// Degraded is what of them does not work and is not needed while all else does, such as a standby
	// replica. A degraded bus is Ready all the same. It is for the people who look after the servers.
	Degraded []transport.Part
	// Standby are the subscriptions of durable topics that hold nothing of their consumer, by topic and
	// name: mostly as another bus has it, and they wait for that to end. The bus is Ready all the same.
	Standby []StandbySubscription
	// Stopped are subscriptions that ended for their panics and were not subscribed again by the
	// same name.
	Stopped []StoppedSubscription
}

// StoppedSubscription is a subscription that ended by itself.
type StoppedSubscription struct {
	Topic, Name string
	Err         error // ErrPanicBudget, with the last panic
}

// StandbySubscription is a subscription of a durable topic that gets no events for now.
type StandbySubscription struct {
	Topic, Name string
}

// Ready is nil if the bus can do all of its work: it is open, its transport is connected to every
// shard and every subscription is confirmed, its log works, and no subscription was stopped. Otherwise
// the error, which wraps ErrNotReady, names all that is missing. It is for readiness probes: a process that is
// not ready should get no new work, and will be ready again by itself, unless Live says otherwise.
func (h Health) Ready() error {
	var missing []string
	switch {
	case h.Closed:
		missing = append(missing, "the bus is closed")
	case h.Held:
		missing = append(missing, "the bus is not started")
	case h.Draining:
		missing = append(missing, "the bus is shutting down")
	}
	for _, p := range h.Down {
		missing = append(missing, p.Name+": "+errguard.Text(p.Err))
	}
	for _, s := range h.Stopped {
		missing = append(missing, s.text())
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotReady, strings.Join(missing, "; "))
}

// Live is nil unless something is wrong that does not mend by itself: a subscription was stopped,
// or the bus has ended. A broker that is away is no reason: a new process would not find it either.
// It is for liveness probes, which restart the process.
func (h Health) Live() error {
	var dead []string
	if h.Closed {
		dead = append(dead, "the bus is closed")
	}
	for _, s := range h.Stopped {
		dead = append(dead, s.text())
	}
	if len(dead) == 0 {
		return nil
	}
	return errors.New("not live: " + strings.Join(dead, "; "))
}

func (s StoppedSubscription) text() string {
	return fmt.Sprintf("subscription %s/%s was stopped: %s", s.Topic, s.Name, errguard.Text(s.Err))
}

// Health is the state of the bus at this moment. It does no I/O and does not wait: it may be called
// for every request of a probe.
func (b *Bus) Health() Health {
	state := b.state.Load()
	h := Health{Held: state == stateHeld, Draining: state == stateDraining, Closed: state == stateClosed}
	if b.transport != nil {
		h.Transport = b.transport.Capabilities().Name
	}
	if b.durable != nil {
		h.Log = b.durable.caps.Name
		h.Standby = b.standby()
	}
	for _, p := range b.servedParts() {
		of := p.health(b)
		h.Down, h.Degraded = append(h.Down, of.Down...), append(h.Degraded, of.Degraded...)
	}
	b.mu.Lock()
	stopped := slices.Collect(maps.Values(b.mu.stopped))
	b.mu.Unlock()
	for _, s := range stopped {
		h.Stopped = append(h.Stopped, StoppedSubscription{Topic: s.info.name, Name: s.name, Err: s.Err()})
	}
	slices.SortFunc(h.Stopped, func(a, b StoppedSubscription) int {
		return strings.Compare(a.Topic+"/"+a.Name, b.Topic+"/"+b.Name)
	})
	return h
}

// standby lists the subscriptions that are on standby.
func (b *Bus) standby() (list []StandbySubscription) {
	for _, s := range b.subscriptions() {
		if s.info.durable && s.engine.standby() {
			list = append(list, StandbySubscription{Topic: s.info.name, Name: s.name})
		}
	}
	slices.SortFunc(list, func(a, b StandbySubscription) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// servedPart is what the supervisor runs: a transport, or a log.
type servedPart struct {
	node string // its name in the tree
	of   any
}

// servedParts lists what the supervisor runs.
func (b *Bus) servedParts() (parts []servedPart) {
	if b.transport != nil {
		parts = append(parts, servedPart{"transport", b.transport})
	}
	if b.durable != nil {
		parts = append(parts, servedPart{"log", b.durable.log})
	}
	return parts
}

// health is how the part is: what it says itself, or, if it runs not at all, that.
func (p servedPart) health(b *Bus) transport.Health {
	node, _ := b.root.Node(p.node)
	if node.State != supervisor.StateRunning {
		err := fmt.Errorf("its state is %v", node.State)
		if node.LastErr != nil {
			err = fmt.Errorf("%w after: %w", err, errguard.Safe(node.LastErr))
		}
		return transport.Health{Down: []transport.Part{{Name: p.node, Since: node.Since, Err: err}}}
	}
	if r, ok := p.of.(transport.HealthReporter); ok {
		return r.Health()
	}
	return transport.Health{}
}

// How often Ready looks: soon at first, since a broker that is near answers in milliseconds.
const (
	readySoon  = time.Millisecond
	readyAtMax = 50 * time.Millisecond
)

// Ready waits until Health.Ready is nil, and returns nil then. When ctx ends first, its cause is in
// the error, which wraps ErrNotReady and names what is missing. It returns at once, with what
// Health.Ready says, if waiting can't help: the bus shuts down or has ended, or a subscription was
// stopped.
func (b *Bus) Ready(ctx context.Context) error {
	fail := func(err error) error { return &Error{Op: "wait until ready", Err: err} }
	if ctx == nil {
		return fail(ErrNilContext)
	}
	again := time.NewTimer(readySoon)
	defer again.Stop()
	for wait := readySoon; ; wait = min(2*wait, readyAtMax) {
		h := b.Health()
		err := h.Ready()
		switch {
		case err == nil:
			return nil
		case h.Draining || h.Closed:
			return fail(fmt.Errorf("%w: %w", ErrClosed, err))
		case len(h.Stopped) > 0:
			return fail(err)
		}
		again.Reset(wait)
		select {
		case <-again.C:
		case <-ctx.Done():
			return fail(fmt.Errorf("%w: %w", causeOf(ctx), err))
		}
	}
}

// noteStopped has Health tell of a subscription that was stopped for its panics, unless another one
// has its name by now.
func (b *Bus) noteStopped(s *Subscription) {
	if s.ctl.Load()&ctlReplaced != 0 {
		return
	}
	b.mu.Lock()
	if b.mu.stopped == nil {
		b.mu.stopped = make(map[subscriptionName]*Subscription)
	}
	b.mu.stopped[subscriptionName{s.info.name, s.name}] = s
	b.mu.Unlock()
	// Its name was free before this, so another one may have subscribed and noted that already.
	t, ok := b.topics.Load(s.info.name)
	if !ok || t.(topicHandle).topicInfo() != s.info { // the topic was closed
		b.mu.Lock()
		defer b.mu.Unlock()
		if name := (subscriptionName{s.info.name, s.name}); b.mu.stopped[name] == s {
			delete(b.mu.stopped, name)
		}
		return
	}
	for _, other := range t.(topicHandle).subscriptions() {
		if other != s && other.name == s.name {
			b.noteSubscribed(other)
		}
	}
}

// noteSubscribed has Health tell no more of another one that s takes the place of.
func (b *Bus) noteSubscribed(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := subscriptionName{s.info.name, s.name}
	if b.mu.stopped[name] != s {
		delete(b.mu.stopped, name)
	}
}
