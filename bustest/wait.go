package bustest

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/inspect"
)

// Waits look again when something told them to, and else this often at first and ever more rarely:
// a lane that is never idle tells nothing.
const (
	firstPoll = time.Millisecond
	lastPoll  = time.Second
)

// await waits until cond is true, and returns false if that takes longer than waitTimeout.
func await(waitTimeout time.Duration, sources []source, cond func() bool) bool {
	start := time.Now()
	for {
		cases := make([]reflect.SelectCase, 0, len(sources)+1)
		releases := make([]func(), 0, len(sources))
		for _, s := range sources {
			changed, release := s.Changed()
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(changed)})
			releases = append(releases, release)
		}
		done := cond() // after the channels were taken: a later change closes them
		elapsed := time.Since(start)
		if !done && elapsed < waitTimeout {
			timer := time.NewTimer(min(max(firstPoll, elapsed/64), lastPoll, waitTimeout-elapsed))
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timer.C)})
			reflect.Select(cases)
			timer.Stop()
		}
		for _, release := range releases {
			release()
		}
		if done || elapsed >= waitTimeout {
			return done
		}
	}
}

// WaitHandled waits until sub has handled n events or more, counted from its beginning, and fails
// the test with sub's ledger if that takes longer than [WaitTimeout] or sub ends before. When it
// returns, sub.Stats() counts them.
func WaitHandled(t testing.TB, sub *bus.Subscription, n int) {
	t.Helper()
	if sub == nil {
		t.Fatalf("bustest: WaitHandled was given a nil subscription; did Subscribe fail?")
	}
	view := inspect.Of(sub)
	w, _ := view.Watcher().(watcher) // none if the bus is not one of New
	waitTimeout := w.Bus.waitTimeout()
	ended := false
	ok := await(waitTimeout, []source{view}, func() bool {
		select {
		case <-sub.Done():
			ended = true // before the ledger is read: then it is the last
		default:
		}
		return sub.Stats().Handled >= uint64(n) || ended
	})
	switch st := sub.Stats(); {
	case st.Handled >= uint64(n):
	case ended:
		t.Fatalf("bustest: %s/%s ended before it had handled %d events: %v%s",
			sub.Topic(), sub.Name(), n, st, w.Bus.lastFailure(sub))
	case !ok:
		t.Fatalf("bustest: %s/%s has not handled %d events after %v: %v%s",
			sub.Topic(), sub.Name(), n, waitTimeout, st, w.Bus.lastFailure(sub))
	}
}

// WaitIdle waits until nothing is left to do on b and on the buses that share its broker: no event
// is queued, is being handled, waits for another attempt or behind one of its key, or is held back
// by a fault ([Bus.Delay], [Bus.Reorder]); and of durable topics no event waits in the log for a
// subscription of these buses. When it returns, events published before the call are
// settled.
//
// It fails the test, and says what is pending where, if that takes longer than [WaitTimeout]:
// because of a handler that does not return, a paused subscription, or a retry far away. Idle
// actors don't count, nor do goroutines that are not the bus's.
func WaitIdle(t testing.TB, b *Bus) {
	t.Helper()
	buses := b.mode.members()
	sources := []source{b.mode}
	for _, m := range buses {
		sources = append(sources, m.view)
	}
	if await(b.waitTimeout(), sources, func() bool { return b.logsIdle(buses) && b.mode.idle(buses) && b.logsIdle(buses) }) {
		return
	}
	pending := describePending(buses)
	if pending == "" {
		pending = " events came all the time"
	}
	t.Fatalf("bustest: not idle after %v:%s", b.waitTimeout(), pending)
}

// describePending says what keeps buses from being idle: why events wait for another attempt, and
// where handlers are.
func describePending(buses []*Bus) string {
	var text strings.Builder
	for i, b := range buses {
		where := ""
		if len(buses) > 1 {
			where = fmt.Sprintf("bus %d: ", i+1)
		}
		running := uint64(0)
		for _, s := range b.Subscriptions() {
			if st := s.Stats(); st.Pending() > 0 {
				fmt.Fprintf(&text, "\n  %s%s/%s: %v%s", where, s.Topic(), s.Name(), st, b.lastFailure(s))
				running += st.Running
			}
		}
		if running > 0 {
			text.WriteString(strings.ReplaceAll(b.handlerStacks(), "\n", "\n  "))
		}
		for _, lag := range b.describeLag() {
			fmt.Fprintf(&text, "\n  %s%s", where, lag)
		}
		for _, held := range b.mode.describeHeld() {
			fmt.Fprintf(&text, "\n  %s%s", where, held)
		}
	}
	return text.String()
}

// lastFailure says why the last attempt of a subscription that failed did.
func (b *Bus) lastFailure(sub *bus.Subscription) string {
	if b == nil {
		return ""
	}
	for _, a := range slices.Backward(b.attemptsAt(sub.Topic(), sub.Name())) {
		if a.err != nil {
			return fmt.Sprintf("\n    attempt %d of key %q failed last: %v", a.d.Attempt(), a.d.Key(), a.err)
		}
	}
	return ""
}
