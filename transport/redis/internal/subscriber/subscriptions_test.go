package subscriber

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// gapSink keeps gaps.
type gapSink struct{ gaps []transport.Gap }

func (*gapSink) Deliver(*transport.Envelope) {}
func (s *gapSink) Gap(g transport.Gap)       { s.gaps = append(s.gaps, g) }

// reasonRig is a channel that is live at node 1, whose replica is node 2; node 3 has the other half of the slots.
type reasonRig struct {
	sub       *Subscriber
	cluster   *stillCluster
	ch        *channel
	confirmed *session
	now       time.Time
}

func (r *reasonRig) become(t *testing.T, shards ...router.Shard) {
	t.Helper()
	after, err := router.NewSnapshot(shards)
	if err != nil {
		t.Fatal(err)
	}
	before := r.cluster.snapshot.Swap(after)
	r.sub.subscriptions.applyTopology(router.Diff(before, after))
}

func (r *reasonRig) attach(n router.Node) *session {
	f := newSession(r.sub, at(n.Addr))
	r.sub.subscriptions.sessionUp(f)
	return f
}

// enter has f carry out what it is to do, as a reader and a server would.
func (r *reasonRig) enter(t *testing.T, f *session) {
	t.Helper()
	for _, todo := range r.sub.subscriptions.commands(f) {
		for _, name := range todo.Subscribe {
			r.sub.subscriptions.confirmed(f, []pushEvent{{kind: pushSubscribed, channel: name}}, r.now, func(*channel) {})
		}
	}
	if r.ch = channelOf(r.sub.subscriptions.mu.core.Channel(reconcile.ChannelKey{Name: "reasons"})); r.ch.ConfirmedOn() != &f.Session {
		t.Fatalf("the channel is not subscribed at %s", f.Addr)
	}
}

func (r *reasonRig) event(seq uint64) {
	doc, at := wire.Append(nil, &transport.Envelope{Topic: "reasons", Publisher: "p", ID: "x"}, "")
	wire.PutSequence(doc, at, seq)
	r.ch.message(r.now, r.confirmed, string(doc))
}

// TestGapReasons: a gap says what happened to the subscription, whatever was the first sign of it.
func TestGapReasons(t *testing.T) {
	slot := router.Slot("reasons")
	whole, half := router.SlotRange{From: 0, To: router.Slots - 1}, router.SlotRange{From: slot, To: slot}
	rest := []router.SlotRange{{From: 0, To: slot - 1}, {From: slot + 1, To: router.Slots - 1}}
	before := []router.Shard{
		{Primary: nodeAt(1), Replicas: []router.Node{nodeAt(2)}, Slots: []router.SlotRange{half}}, {Primary: nodeAt(3), Slots: rest},
	}
	promoted := []router.Shard{{Primary: nodeAt(2), Slots: []router.SlotRange{half}}, {Primary: nodeAt(3), Slots: rest}}
	migrated := []router.Shard{{Primary: nodeAt(3), Slots: []router.SlotRange{whole}}, {Primary: nodeAt(1), Replicas: []router.Node{nodeAt(2)}}}
	for _, c := range []struct {
		name  string
		want  transport.GapReason
		fault func(t *testing.T, r *reasonRig)
	}{
		{"nothing", transport.Unknown, func(*testing.T, *reasonRig) {}},
		{"the connection ends", transport.Disconnected, func(t *testing.T, r *reasonRig) {
			r.sub.subscriptions.sessionLost(r.confirmed)
			r.enter(t, r.attach(nodeAt(1)))
		}},
		{"fail-over seen by the connection", transport.FailOver, func(t *testing.T, r *reasonRig) {
			r.sub.subscriptions.sessionLost(r.confirmed)
			r.become(t, promoted...)
			r.enter(t, r.attach(nodeAt(2)))
		}},
		{"fail-over seen by the topology", transport.FailOver, func(t *testing.T, r *reasonRig) {
			r.become(t, promoted...)
			r.event(2) // the old primary still delivers
			r.enter(t, r.attach(nodeAt(2)))
			r.sub.subscriptions.sessionLost(r.confirmed)
		}},
		{"fail-over, and the old primary still delivers", transport.FailOver, func(t *testing.T, r *reasonRig) {
			r.become(t, promoted...)
		}},
		{"migration seen by sunsubscribe", transport.Migration, func(t *testing.T, r *reasonRig) {
			r.sub.subscriptions.unsubscribed(r.confirmed, "reasons")
			r.become(t, migrated...)
			r.enter(t, r.attach(nodeAt(3)))
		}},
		{"migration seen by the topology", transport.Migration, func(t *testing.T, r *reasonRig) {
			r.become(t, migrated...)
			r.sub.subscriptions.unsubscribed(r.confirmed, "reasons")
			r.enter(t, r.attach(nodeAt(3)))
		}},
		{"migration seen by MOVED", transport.Migration, func(t *testing.T, r *reasonRig) {
			to := r.attach(nodeAt(3))
			r.sub.subscriptions.unsubscribed(r.confirmed, "reasons")
			if len(r.sub.subscriptions.commands(r.confirmed)) == 0 {
				t.Fatal("it is not asked for where it was")
			}
			if !r.sub.subscriptions.redirected(r.confirmed, slot, []string{"reasons"}, to.Addr) {
				t.Fatal("MOVED does not help")
			}
			r.enter(t, to)
			if r.sub.subscriptions.redirected(to, slot, []string{"reasons"}, r.confirmed.Addr) {
				t.Fatal("two nodes that name each other keep us running")
			}
			if len(r.sub.subscriptions.commands(r.confirmed)) > 0 {
				t.Fatal("the second MOVED is followed at once")
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			gaps := new(gapSink)
			r := &reasonRig{cluster: newStillCluster(t, before...), now: time.Unix(1e6, 0)}
			r.sub, _ = stillSubscriber(r.cluster, &stubAnswerer{publisher: "p"}, gaps, RepairSettings{Off: true})
			r.sub.subscriptions.enqueue(newSubscribeCall(router.Placement{Topic: "reasons"}))
			r.confirmed = r.attach(nodeAt(1))
			r.enter(t, r.confirmed)
			r.event(1)
			c.fault(t, r)
			r.event(5)
			r.ch.expire(r.now.Add(time.Second))
			if len(gaps.gaps) != 1 || gaps.gaps[0].Reason != c.want || gaps.gaps[0].To != 4 {
				t.Errorf("%v, want one gap up to 4 for reason %v", gaps.gaps, c.want)
			}
		})
	}
}
