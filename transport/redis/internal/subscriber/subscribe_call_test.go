package subscriber

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"pgregory.net/rapid"
)

// callRig is subscriptions with two nodes, its Subscribe calls, and what answers baseline requests.
type callRig struct {
	sub      *Subscriber
	now      time.Time
	sessions []*session
	calls    []*subscribeCall
	asked    map[*session][]string // and not confirmed or refused
}

func newCallRig(t *rapid.T) *callRig {
	half := router.Slots / 2
	cluster := newStillCluster(
		t,
		router.Shard{Primary: nodeAt(1), Slots: []router.SlotRange{{From: 0, To: half - 1}}},
		router.Shard{Primary: nodeAt(2), Slots: []router.SlotRange{{From: half, To: router.Slots - 1}}},
	)
	r := &callRig{now: time.Unix(1e6, 0), asked: make(map[*session][]string)}
	r.sub, _ = stillSubscriber(cluster, &stubAnswerer{publisher: "p"}, noSink{}, RepairSettings{})
	r.sub.nacks.baselines.setServing(true)
	for i := 1; i <= 2; i++ {
		r.attach(nodeAt(i).Addr)
	}
	return r
}

func (r *callRig) attach(addr string) {
	f := newSession(r.sub, at(addr))
	r.sub.subscriptions.sessionUp(f)
	r.sessions = append(r.sessions, f)
}

// take has a session ask for what it is to ask for.
func (r *callRig) take(f *session) {
	for _, todo := range r.sub.subscriptions.commands(f) {
		r.asked[f] = append(r.asked[f], todo.Subscribe...)
		for _, name := range todo.Unsubscribe {
			r.sub.subscriptions.unsubscribed(f, name)
		}
	}
}

func (r *callRig) confirm(f *session, n int) {
	var all []pushEvent
	for _, name := range r.asked[f][:n] {
		all = append(all, pushEvent{kind: pushSubscribed, channel: name})
	}
	r.asked[f] = r.asked[f][n:]
	r.sub.subscriptions.confirmed(f, all, r.now, func(*channel) {})
}

// answer ends all baseline requests, as answers do.
func (r *callRig) answer() {
	g := &r.sub.nacks.baselines
	for {
		n := r.sub.nacks.question.Add(1)
		if len(g.begin(r.now, n, "s").Channels) == 0 {
			return
		}
		g.onSent(r.now, n, 0, nil)
	}
}

func ended(a *subscribeCall) bool {
	select {
	case <-a.Done():
		return true
	default:
		return false
	}
}

// TestSubscribeCalls: whatever calls do and happens to their channels and baselines, each ends once: when all that it
// waits for has come, or with the first error. What the reconciler does of that is searched in its package.
func TestSubscribeCalls(t *testing.T) {
	errCancelled, errForbidden := errors.New("cancelled"), errors.New("forbidden")
	rapid.Check(t, func(t *rapid.T) {
		r := newCallRig(t)
		reg := r.sub.subscriptions
		aCall := func(t *rapid.T) *subscribeCall {
			if len(r.calls) == 0 {
				t.Skip()
			}
			return rapid.SampledFrom(r.calls).Draw(t, "call")
		}
		aSession := func(t *rapid.T) *session { return rapid.SampledFrom(r.sessions).Draw(t, "session") }
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				topic := fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "topic"))
				a := newSubscribeCall(router.Placement{Topic: topic, Partitions: rapid.SampledFrom([]int{0, 0, 0, 3}).Draw(t, "partitions")})
				r.calls = append(r.calls, a)
				if rapid.Bool().Draw(t, "in line") { // somebody else takes it in
					a.next = reg.subscribeQueue.Load()
					reg.subscribeQueue.Store(a)
				} else {
					reg.enqueue(a)
				}
			},
			"cancel": func(t *rapid.T) {
				a := aCall(t)
				was := ended(a)
				if err := reg.cancel(a, errCancelled); err != nil {
					reg.abandon(a)
					if !ended(a) || !was && errors.Is(err, errCancelled) != errors.Is(a.Err(), errCancelled) {
						t.Fatalf("cancelled: %v, ended %v with %v", err, ended(a), a.Err())
					}
				}
			},
			"unsubscribe": func(t *rapid.T) {
				reg.removeTopic(fmt.Sprintf("t%d", rapid.IntRange(0, 5).Draw(t, "topic")), errUnsubscribed)
			},
			"ask": func(t *rapid.T) { r.take(aSession(t)) },
			"confirm": func(t *rapid.T) {
				f := aSession(t)
				r.confirm(f, rapid.IntRange(0, len(r.asked[f])).Draw(t, "n"))
			},
			"refuse": func(t *rapid.T) {
				f := aSession(t)
				if len(r.asked[f]) == 0 {
					t.Skip()
				}
				name := r.asked[f][0]
				r.asked[f] = r.asked[f][1:]
				reg.refused(f, []string{name}, rapid.SampledFrom([]error{nil, errForbidden}).Draw(t, "final"))
				reg.retry(f, []int{router.Slot(name)})
			},
			"lose a connection": func(t *rapid.T) {
				i := rapid.IntRange(0, len(r.sessions)-1).Draw(t, "session")
				f := r.sessions[i]
				reg.sessionLost(f)
				delete(r.asked, f)
				r.sessions = append(r.sessions[:i:i], r.sessions[i+1:]...)
				r.attach(f.Addr)
			},
			"answer": func(*rapid.T) { r.answer() },
			"no answer": func(*rapid.T) {
				r.now = r.now.Add(baselineWait)
				reconcile.Release(r.sub.nacks.baselines.expire(r.now))
			},
		})
		for range 3 { // in the end all comes
			for _, f := range r.sessions {
				r.take(f)
				r.confirm(f, len(r.asked[f]))
			}
		}
		for range 2 * baselineTries {
			r.answer()
			r.now = r.now.Add(baselineWait)
			reconcile.Release(r.sub.nacks.baselines.expire(r.now))
		}
		for i, a := range r.calls {
			if !ended(a) {
				t.Fatalf("call %d waits for ever", i)
			}
			if err := a.Err(); err != nil && !errors.Is(err, errUnsubscribed) && !errors.Is(err, errAbandoned) &&
				!errors.Is(a.Err(), errCancelled) && !errors.Is(err, errForbidden) && !errors.Is(err, transport.ErrInvalidTopic) {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		g := &r.sub.nacks.baselines
		if len(g.pending) > 0 || len(g.open) > 0 || g.sending != 0 {
			t.Fatalf("left of greetings: %d pending, %d open, %d on their way", len(g.pending), len(g.open), g.sending)
		}
		reg.lock()
		defer reg.mu.Unlock()
		for name, each := range reg.mu.core.Channels() {
			if ch := channelOf(each); ch.baseline != nil {
				t.Fatalf("the baseline of %v is not asked for", name)
			}
		}
	})
}
