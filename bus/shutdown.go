package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shardbus/shardbus/supervisor"
)

// Shutdown ends the bus in order. From the call on, Publish from outside and
// new topics and subscriptions are ErrClosed; pauses are lifted; handlers
// finish with a live context and may still publish; everything accepted is
// handled, retries included. With a transport it also waits for each Publish
// that has not returned, and until the bus's own subscriptions have got what it
// published; of others it takes no events any more. It returns nil when all that
// is done and nothing of the bus runs any more.
//
// When ctx ends first, handler contexts are cancelled, what was not handled is
// abandoned, what had not come back from the transport is a Gap at each
// subscription, with the reason Ended, and the error says how much of which
// subscription, and which handlers still run. From a handler of this bus Shutdown is ErrWouldDeadlock.
//
// Shutdown and Close may be called more than once and together; each call
// returns when the bus has ended, or its own bound is reached.
func (b *Bus) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return &Error{Op: "shutdown", Err: ErrNilContext}
	}
	if l := callerLane(ctx); l != nil && l.sub.bus == b {
		return &Error{Op: "shutdown", Topic: l.sub.info.name, Subscription: l.sub.name, Err: ErrWouldDeadlock,
			Detail: "a handler can't wait for the bus to shut down; call it from outside, or Close"}
	}
	ended := b.state.Load() == stateClosed // before this call: not its concern
	b.beginDraining()
	subs := b.subscriptions()
	for _, s := range subs {
		s.Resume()
	}
	err := b.settled.wait(ctx, b.quiet)
	if err != nil && b.quiet() { // what was handled by now was handled in time
		err = nil
	}
	if err == nil {
		if left := b.end(); left != "" {
			return &Error{Op: "shutdown", Err: ErrClosed, Detail: "the transport was closed: " + left}
		}
		for _, s := range subs {
			if err := s.awaitEnd(ctx); err != nil {
				return &Error{Op: "shutdown", Topic: s.info.name, Subscription: s.name, Err: err,
					Detail: "everything was handled, but actors have not stopped"}
			}
		}
		if err = b.awaitWork(ctx); err == nil && b.cut.Load() && !ended {
			return &Error{Op: "shutdown", Err: ErrClosed, Detail: "the bus was ended meanwhile, and events were abandoned"}
		}
		if err == nil {
			return nil
		}
		return &Error{Op: "shutdown", Err: err, Detail: "everything was handled, but " + b.stillWorking()}
	}
	abandoned := describePending(subs)
	var detail []string
	if left := b.end(); left != "" {
		detail = append(detail, left)
	}
	if abandoned != "" || len(detail) == 0 {
		detail = append([]string{"abandoned " + cmp.Or(abandoned, "nothing, but a Publish had not returned")}, detail...)
	}
	return &Error{Op: "shutdown", Err: err, Detail: strings.Join(detail, "; ")}
}

// Close ends the bus abruptly: handler contexts are cancelled, what waits is
// abandoned, and counted so; what of the bus's own events had not come back from a
// transport is a Gap. It waits up to Config.Grace for handlers that run;
// the error names those that run on. Inside a handler it works, but waits for
// that handler in vain.
func (b *Bus) Close() error {
	b.beginDraining()
	subs := b.subscriptions()
	b.end()
	ctx, cancel := context.WithTimeoutCause(context.Background(), b.cfg.Grace, errGrace)
	defer cancel()
	for _, s := range subs {
		select {
		case <-s.Done():
		case <-ctx.Done():
			return &Error{Op: "close", Err: causeOf(ctx), Detail: stillRunning(subs)}
		}
	}
	// The transport's own grace, which is as long, ends first.
	ctx, cancelWork := context.WithTimeoutCause(context.WithoutCancel(ctx), b.cfg.Grace+2*supervisor.HookGrace, errGrace)
	defer cancelWork()
	if err := b.awaitWork(ctx); err != nil {
		return &Error{Op: "close", Err: err, Detail: b.stillWorking()}
	}
	return nil
}

var errGrace = errors.New("grace is over")

// beginDraining refuses what comes from outside from now on.
func (b *Bus) beginDraining() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.CompareAndSwap(stateOpen, stateDraining) {
		close(b.draining)
	}
}

// end stops every subscription and the transport, without waiting. left says what of the bus's own
// events had not come back from the transport; each subscription was told of it as a Gap.
func (b *Bus) end() (left string) {
	if b.state.Load() != stateClosed && !b.quiet() {
		b.cut.Store(true)
	}
	b.mu.Lock()
	if b.state.Swap(stateClosed) != stateClosed {
		close(b.closed)
	}
	b.mu.Unlock()
	left = b.closeLoopbacks()
	for _, s := range b.subscriptions() {
		s.stop(nil)
	}
	b.mu.Lock()
	b.stopWork() // under mu, so that goWork adds to working before this or never
	b.mu.Unlock()
	b.settled.notify()
	return left
}

// awaitWork waits until what runs besides handlers has ended.
func (b *Bus) awaitWork(ctx context.Context) error {
	if b.root == nil {
		return nil // all other work is for a transport
	}
	ended := make(chan struct{})
	go func() { // ends with the transport's Serve, whose grace bounds it
		b.working.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return b.served
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

// stillWorking says what awaitWork waited for in vain.
func (b *Bus) stillWorking() string {
	if n := b.tellers.Load(); n > 0 {
		return fmt.Sprintf("OnGap of %d subscriptions has not been told of every gap, or has not returned", n)
	}
	return "the transport has not ended"
}

// quiet tells whether nothing is pending on the whole bus. With every intake
// locked no event can move, and a handler that might publish shows as pending:
// what is quiet now stays quiet.
func (b *Bus) quiet() bool {
	topics := b.allTopics()
	for _, t := range topics {
		t.lock()
	}
	busy := false
	for _, t := range topics {
		busy = busy || t.busyLocked()
	}
	for _, t := range topics {
		t.unlock()
	}
	for _, s := range b.leaving() {
		busy = busy || s.Stats().Pending() > 0
	}
	return !busy
}

// allTopics lists the topics in the order of their names: the order in which
// quiet locks them.
func (b *Bus) allTopics() []topicHandle {
	var topics []topicHandle
	b.topics.Range(func(_, h any) bool {
		topics = append(topics, h.(topicHandle))
		return true
	})
	slices.SortFunc(topics, func(a, b topicHandle) int {
		return strings.Compare(a.topicInfo().name, b.topicInfo().name)
	})
	return topics
}

// subscriptions lists all that have not ended.
func (b *Bus) subscriptions() []*Subscription {
	var subs []*Subscription
	for _, t := range b.allTopics() {
		subs = append(subs, t.subscriptions()...)
	}
	// Last, since a subscription may move there meanwhile, but never back.
	seen := make(map[*Subscription]struct{}, len(subs))
	for _, s := range subs {
		seen[s] = struct{}{}
	}
	for _, s := range b.leaving() {
		if _, ok := seen[s]; !ok {
			subs = append(subs, s)
		}
	}
	return subs
}

// leaving lists the subscriptions that left their topic and have not ended.
func (b *Bus) leaving() []*Subscription {
	b.mu.Lock()
	defer b.mu.Unlock()
	subs := make([]*Subscription, 0, len(b.mu.ending))
	for s := range b.mu.ending {
		subs = append(subs, s)
	}
	return subs
}

// remember keeps s on the list of leaving; it comes before s leaves its topic, so
// that s is always on one of the lists. forget takes it off.
func (b *Bus) remember(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.ending[s] = struct{}{}
}

func (b *Bus) forget(s *Subscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.mu.ending, s)
}

// describePending says what is pending where.
func describePending(subs []*Subscription) string {
	var parts []string
	total := uint64(0)
	for _, s := range subs {
		st := s.Stats()
		if n := st.Pending(); n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%s/%s %d (%d running)", s.info.name, s.name, n, st.Running))
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf("%d events: %s", total, strings.Join(parts, ", "))
}

// stillRunning names the subscriptions whose handlers run.
func stillRunning(subs []*Subscription) string {
	var parts []string
	for _, s := range subs {
		if n := s.Stats().Running; n > 0 {
			parts = append(parts, fmt.Sprintf("%s/%s (%d)", s.info.name, s.name, n))
		}
	}
	if len(parts) == 0 {
		return "actors have not stopped"
	}
	return "handlers still run: " + strings.Join(parts, ", ")
}
