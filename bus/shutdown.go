package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shardbus/shardbus/supervisor"
)

// Shutdown ends the bus after everything was handled. From the call on, Publish from outside, and
// new topics and subscriptions, return ErrClosed; pauses are lifted; handlers finish with a live
// context and may still publish; everything accepted is handled, retries included. With a transport
// it also waits for each Publish that has not returned, and until the bus's own subscriptions have
// received what it published; it takes no more events of others. Of durable topics it finishes what is
// started, returns the rest to the log, as [Subscription.Drain] does, and waits for each Publish. It
// returns nil when all that is done and nothing of the bus runs any more.
//
// When ctx ends first, handler contexts are cancelled, what waits is abandoned at once, and what
// had not come back from the transport is a Gap at each subscription, with the reason Ended. The
// error says how much of which subscription, which handlers still run, and which partitions of durable
// topics were not released to the log, so that what was being handled there comes again. Stats says the
// same; there those handlers are running until they return. From a handler or an OnGap of this bus
// Shutdown returns ErrWouldDeadlock. A goroutine that a handler starts may call it: it waits for
// that handler too.
//
// Shutdown and Close may be called more than once and together; each call returns when the bus has
// ended, or its own bound is reached.
func (b *Bus) Shutdown(ctx context.Context) error {
	if ctx == nil {
		return &Error{Op: "shutdown", Err: ErrNilContext}
	}
	if err := b.shutdown(ctx); err != nil {
		return err
	}
	if err := b.awaitDone(ctx); err != nil {
		return &Error{Op: "shutdown", Err: err, Detail: "everything was handled"}
	}
	return nil
}

func (b *Bus) shutdown(ctx context.Context) error {
	if r := b.runnerHere(); r != nil {
		return &Error{Op: "shutdown", Topic: r.subscription().info.name, Subscription: r.subscription().name, Err: ErrWouldDeadlock,
			Detail: r.role() + " can't wait for the bus to shut down; call it from another goroutine, or Close"}
	}
	ended := b.state.Load() == stateClosed // before this call: not its concern
	b.beginDraining()
	subs := b.subscriptions()
	for _, s := range subs {
		s.Resume()
		s.release()
		if s.info.durable {
			s.engine.returnUnstarted()
		}
	}
	endIfIdle := func() bool { return b.enterClosed(true) }
	err := b.changes.Wait(ctx, endIfIdle)
	if err != nil && endIfIdle() {
		err = nil
	}
	held := ""
	if err != nil {
		held = describeHeld(subs)
	}
	ctx, release := b.unlessEnded(ctx)
	defer release()
	open := b.end()
	if ended {
		open = ""
	}
	left, text := describeLeft(subs)
	switch {
	case err == nil && open != "":
		why, cause := "the transport was closed: ", ErrClosed
		if b.abandonedAny.Load() {
			why = "the bus was ended meanwhile: "
		}
		if err := b.awaitEnd(ctx, subs); err != nil {
			cause = fmt.Errorf("%w: %w", ErrClosed, err)
		}
		return &Error{Op: "shutdown", Err: cause, Detail: why + open}
	case err == nil, left == 0 && open == "" && held == "": // what was handled by now was handled in time
		for _, s := range subs {
			if err := s.awaitEnd(ctx); err != nil {
				return &Error{Op: "shutdown", Topic: s.info.name, Subscription: s.name, Err: err,
					Detail: "everything was handled, but actors have not stopped"}
			}
		}
		err := b.awaitWork(ctx)
		if left, _ = describeLeft(subs); err == nil && left > 0 && b.abandonedAny.Load() && !ended {
			return &Error{Op: "shutdown", Err: ErrClosed, Detail: "the bus was ended meanwhile, and events were abandoned"}
		}
		if err == nil && !ended {
			if err := b.durable.releaseError(); err != nil {
				return &Error{Op: "shutdown", Err: err}
			}
		}
		if err == nil {
			return nil
		}
		return &Error{Op: "shutdown", Err: err, Detail: "everything was handled, but " + b.stillWorking()}
	}
	if left == 0 {
		text = ""
	}
	return &Error{Op: "shutdown", Err: err, Detail: strings.Join(slices.DeleteFunc([]string{text, held, open}, func(s string) bool { return s == "" }), "; ")}
}

// Close ends the bus abruptly. Handler contexts are cancelled; what waits is abandoned at once, and
// counted so, or, of durable topics, returned to the log; events of the bus's own that had not come back
// from a transport are a Gap. It waits
// up to Config.Grace for running handlers; the error names those that run on. Inside a handler it
// works, but its wait for that handler runs into Config.Grace.
func (b *Bus) Close() error {
	b.beginDraining()
	subs := b.subscriptions()
	b.end()
	ctx, cancel := context.WithTimeoutCause(context.Background(), b.grace, errGrace)
	defer cancel()
	for _, s := range subs {
		select {
		case <-s.Done():
		case <-ctx.Done():
			return &Error{Op: "close", Err: causeOf(ctx), Detail: stillRunning(subs)}
		}
	}
	// The transport's own grace, which is as long, ends first.
	ctx, cancelWork := context.WithTimeoutCause(context.WithoutCancel(ctx), b.grace+2*supervisor.HookGrace, errGrace)
	defer cancelWork()
	if err := b.awaitWork(ctx); err != nil {
		return &Error{Op: "close", Err: err, Detail: b.stillWorking()}
	}
	if err := b.awaitDone(ctx); err != nil {
		return &Error{Op: "close", Err: err}
	}
	return nil
}

// beginDraining refuses what comes from outside from now on.
func (b *Bus) beginDraining() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.CompareAndSwap(stateOpen, stateDraining) || b.state.CompareAndSwap(stateHeld, stateDraining) {
		close(b.draining)
	}
}

// end stops every subscription and the transport, without waiting. open says what of the bus's own
// events had not come back from the transport when the bus ended, of which each subscription was
// told as a Gap, and which calls of Publish had not returned.
func (b *Bus) end() (open string) {
	b.endMu.Lock()
	defer b.endMu.Unlock()
	b.enterClosed(false)
	open = b.closeLoopbacks()
	for _, t := range b.allTopics() {
		t.abandonForeign()
	}
	// The transport ends first: thousands of topics are not to be unsubscribed one by one at
	// servers whose connections end anyhow. It is told of each all the same, with a context that
	// has ended.
	b.mu.Lock()
	b.stopWork() // under mu, so that goTracked adds to working before this or never
	b.mu.Unlock()
	subs := b.subscriptions()
	for _, s := range subs {
		s.stop(nil)
	}
	b.cleanupLast()
	b.endLife(subs)
	b.changes.Notify()
	return open
}

// awaitEnd waits until subscriptions that were stopped, and what runs besides handlers, have ended.
func (b *Bus) awaitEnd(ctx context.Context, subs []*Subscription) error {
	for _, s := range subs {
		if err := s.awaitEnd(ctx); err != nil {
			return err
		}
	}
	return b.awaitWork(ctx)
}

// awaitWork waits until what runs besides handlers has ended.
func (b *Bus) awaitWork(ctx context.Context) error {
	if err := b.slow.End(ctx); err != nil {
		return err
	}
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
	switch n := b.cleaning.Load(); {
	case n > 0 && b.durable != nil:
		return fmt.Sprintf("the transport or the log has not taken back %d topics or subscriptions", n)
	case n > 0:
		return fmt.Sprintf("the transport has not returned from Unsubscribe of %d topics", n)
	case b.transport == nil:
		return "the log has not ended"
	case b.durable != nil:
		return "the transport or the log has not ended"
	}
	return "the transport has not ended"
}

// closeLoopbacks has every topic tell what of this bus's own events was on its way. It returns
// in words what was open when the bus ended; empty if there was nothing.
func (b *Bus) closeLoopbacks() (left string) {
	if b.transport == nil && b.durable == nil {
		return ""
	}
	var events, calls []string
	var total leftOver
	for _, t := range b.allTopics() {
		l := t.closeLoopback()
		total.events, total.calls = total.events+l.events, total.calls+l.calls
		if l.events > 0 {
			events = append(events, fmt.Sprintf("%s %d", t.topicInfo().name, l.events))
		}
		if l.calls > 0 {
			calls = append(calls, fmt.Sprintf("%s %d", t.topicInfo().name, l.calls))
		}
	}
	var parts []string
	if total.events > 0 {
		parts = append(parts, fmt.Sprintf("%d published events had not come back from the transport: %s", total.events, strings.Join(events, ", ")))
	}
	if total.calls > 0 {
		parts = append(parts, fmt.Sprintf("%d calls of Publish had not returned: %s", total.calls, strings.Join(calls, ", ")))
	}
	return strings.Join(parts, "; ")
}

// idle tells whether nothing is pending on the whole bus. With every fan-out locked no event can
// move, and a handler that might publish shows as pending.
func (b *Bus) idle() bool {
	defer b.lockTopics()()
	return b.idleLocked()
}

// enterClosed closes the bus to everybody, if it is not closed yet; with onlyIfIdle only when
// nothing is pending, and at the same moment, so that nobody publishes in between. It reports
// whether nothing was pending.
func (b *Bus) enterClosed(onlyIfIdle bool) (idle bool) {
	defer b.lockTopics()()
	idle = b.idleLocked()
	if (idle || !onlyIfIdle) && b.state.Swap(stateClosed) != stateClosed {
		b.abandonedAny.Store(!idle)
		close(b.closed)
	}
	return idle
}

// lockTopics locks every fan-out, in the order of the topics' names.
func (b *Bus) lockTopics() (unlock func()) {
	topics := b.allTopics()
	for _, t := range topics {
		t.lock()
	}
	return func() {
		for _, t := range topics {
			t.unlock()
		}
	}
}

func (b *Bus) idleLocked() bool {
	for _, t := range b.allTopics() {
		if t.busyLocked() {
			return false
		}
	}
	for _, s := range b.leaving() {
		if s.engine.busyLocked() {
			return false
		}
	}
	return true
}

// remember keeps s on the list of leaving; it comes before s leaves its topic, so that s is always
// on one of the lists. forget takes it off.
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

// describeLeft says, of subscriptions that were stopped, what was abandoned where, and what still
// runs, and how much that is.
func describeLeft(subs []*Subscription) (left uint64, what string) {
	var parts []string
	abandoned, running := uint64(0), uint64(0)
	for _, s := range subs {
		st := s.Stats()
		if st.Abandoned+st.Running == 0 {
			continue
		}
		abandoned, running = abandoned+st.Abandoned, running+st.Running
		part := fmt.Sprintf("%s/%s %d", s.info.name, s.name, st.Abandoned)
		if st.Running > 0 {
			part += fmt.Sprintf(" (%d running)", st.Running)
		}
		parts = append(parts, part)
	}
	text := fmt.Sprintf("abandoned %d events", abandoned)
	if running > 0 {
		text += fmt.Sprintf(", %d still running", running)
	}
	return abandoned + running, text + ": " + strings.Join(parts, ", ")
}

// describeHeld names the partitions of durable topics that were not given back to the log; empty if all
// were.
func describeHeld(subs []*Subscription) string {
	var parts []string
	for _, s := range subs {
		if !s.info.durable {
			continue
		}
		if held := s.engine.held(); len(held) > 0 {
			parts = append(parts, fmt.Sprintf("%s/%s %s", s.info.name, s.name, partitionList(held)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "not released: " + strings.Join(parts, ", ")
}

// partitionList names partitions, of which there are many, perhaps.
func partitionList(partitions []int) string {
	const most = 16
	text := "partitions"
	for i, p := range partitions {
		if i == most {
			return fmt.Sprintf("%s and %d more", text, len(partitions)-most)
		}
		text += fmt.Sprintf(" %d", p)
	}
	return text
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
