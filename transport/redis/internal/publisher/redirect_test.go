package publisher

import (
	"fmt"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// redirected is a sender with one slot, at a primary with a replica, and a channel queue that has
// events to send.
type redirected struct {
	*sender
	t   *testing.T
	cfg Settings
	top *fakeCluster
	n   int
}

const redirectedSlot = 7

func newRedirected(t *testing.T, owner, replica string) *redirected {
	cfg := testSettings()
	cfg.Standby = true
	d := &redirected{t: t, cfg: cfg}
	d.top = newFakeCluster(d.view(owner, replica))
	d.sender = newSender(&d.cfg, d.top)
	return d
}

func (d *redirected) view(owner, replica string) *router.Snapshot {
	s, err := router.NewSnapshot([]router.Shard{{
		Primary: router.Node{Addr: owner, ID: owner}, Replicas: []router.Node{{Addr: replica, ID: replica}},
		Slots: []router.SlotRange{{From: redirectedSlot, To: redirectedSlot}},
	}})
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// moves makes another node the slot's owner.
func (d *redirected) moves(owner, replica string) {
	d.top.snapshot.Store(d.view(owner, replica))
	d.applyTopology()
}

// take publishes an event and takes it as a pipeline of the node where it should go.
func (d *redirected) take(addr string) *batch {
	d.t.Helper()
	c := new(callPool).get(make([]transport.Result, 1))
	d.n++
	c.events[0] = pendingEvent{
		env: &transport.Envelope{Topic: "c", Publisher: "p", ID: fmt.Sprint(d.n)}, caller: c, route: route{channel: "c", slot: redirectedSlot}, size: 1,
	}
	if _, _, space, err := d.push(c, 0); err != nil || space != nil {
		d.t.Fatal(err)
	}
	return d.takeAt(addr)
}

func (d *redirected) takeAt(addr string) *batch {
	d.t.Helper()
	b := new(batch)
	if d.sender.take(d.nodeQueue(at(addr)), b); len(b.events) == 0 {
		d.t.Fatalf("there is nothing to send at %s", addr)
	}
	return b
}

// moved settles a pipeline with a redirection.
func (d *redirected) moved(addr string, b *batch, to string) (paused bool) {
	d.t.Helper()
	outcomes := make([]outcome, len(b.events))
	for i := range outcomes {
		outcomes[i] = outcome{retry: true, moved: true, to: to}
	}
	_, paused = d.applyOutcomes(d.nodeQueue(at(addr)), b, outcomes, nil)
	return paused
}

func (d *redirected) at(want string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if home := d.targetLocked(redirectedSlot, connkey.Ordinary).Addr; home != want {
		d.t.Fatalf("events go to %s, want %s", home, want)
	}
}

// TestRedirect: a node that names another is followed until the next snapshot, to the replica if
// that other one is of no use. What it says when the snapshot has changed, or is the same as the
// snapshot says, makes no redirect that would outlast it.
func TestRedirect(t *testing.T) {
	t.Run("ahead of the snapshot", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		d.moved("a:1", d.take("a:1"), "b:1")
		d.at("b:1")
		d.moves("b:1", "rb:1")
		d.at("b:1")
		d.NodeFailed(at("b:1"))
		d.at("rb:1")
	})
	t.Run("behind the snapshot", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		b := d.take("a:1")
		d.moves("b:1", "rb:1")
		d.moved("a:1", b, "b:1")
		d.NodeFailed(at("b:1"))
		d.at("rb:1")
	})
	t.Run("far behind the snapshot", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		b := d.take("a:1")
		d.moves("c:1", "rc:1")
		d.moved("a:1", b, "b:1")
		d.at("c:1")
	})
	t.Run("several under way", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		one, two := d.take("a:1"), d.take("a:1")
		d.moved("a:1", one, "b:1")
		d.moves("b:1", "rb:1")
		d.moved("a:1", two, "b:1")
		d.NodeFailed(at("b:1"))
		d.at("rb:1")
	})
	t.Run("there and back", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		d.moved("a:1", d.take("a:1"), "b:1")
		d.moved("b:1", d.takeAt("b:1"), "a:1")
		d.at("a:1")
		d.NodeFailed(at("a:1"))
		d.at("ra:1")
	})
	t.Run("to nobody", func(t *testing.T) {
		d := newRedirected(t, "a:1", "ra:1")
		d.moved("a:1", d.take("a:1"), "")
		d.at("a:1")
	})
}

// TestRedirectLoop: nodes that send a channel queue to each other are not asked as fast as they
// answer, unless it was accepted meanwhile.
func TestRedirectLoop(t *testing.T) {
	d := newRedirected(t, "a:1", "ra:1")
	b, addr := d.take("a:1"), "a:1"
	for range 2 {
		for i := 1; i <= 2*fewRedirects; i++ {
			to := map[string]string{"a:1": "b:1", "b:1": "a:1"}[addr]
			if paused := d.moved(addr, b, to); paused != (i > fewRedirects) {
				t.Errorf("after %d redirections in a row there is a pause: %v", i, paused)
			}
			addr = to
			b = d.takeAt(addr)
		}
		if _, paused := d.applyOutcomes(d.nodeQueue(at(addr)), b, make([]outcome, len(b.events)), nil); paused {
			t.Error("there is a pause after an event that was accepted")
		}
		b = d.take(addr)
	}
}
