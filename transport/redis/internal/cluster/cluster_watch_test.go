package cluster

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"go.uber.org/zap"
)

// watched is a watch that is fed by hand.
type watched struct {
	*clusterWatcher
	t       *testing.T
	changes []router.Changes
}

// newWatched watches a cluster of the nodes 1 to 3, as all of them have it, with the replicas 4 to
// 6.
func newWatched(t *testing.T) *watched {
	t.Helper()
	cfg := &Settings{Addrs: []string{"start:1"}, Logger: zap.NewNop()}
	views := []NodeView{thirds("start:1", 1, node(1), node(2), node(3))}
	snapshot, err := MergeViews(views)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{t: t}
	top := NewTopology(cfg, Discovery{Cluster: true, Snapshot: snapshot}, func(c router.Changes) { w.changes = append(w.changes, c) })
	w.clusterWatcher = &clusterWatcher{Topology: top, nodes: make(map[string]*poller[NodeView])}
	for i := 1; i <= 6; i++ {
		w.hear(thirds(node(i).Addr, 1, node(1), node(2), node(3)))
	}
	return w
}

// thirds is a view in which three primaries share the slots, with epochs from first on, each with a
// replica.
func thirds(from string, first uint64, primaries ...router.Node) NodeView {
	v := NodeView{Addr: from}
	third := router.Slots / 3
	for i, p := range primaries {
		c := SlotOwner{Slots: router.SlotRange{From: i * third, To: (i+1)*third - 1}, Epoch: first + uint64(i), Primary: p, Replicas: []router.Node{node(i + 4)}}
		if i == 2 {
			c.Slots.To = router.Slots - 1
		}
		v.Owners = append(v.Owners, c)
	}
	return v
}

func (w *watched) polled(addr string) *poller[NodeView] {
	w.refreshNodes()
	if w.nodes[addr] == nil {
		w.nodes[addr] = &poller[NodeView]{addr: addr}
	}
	return w.nodes[addr]
}

// hear has a node answer.
func (w *watched) hear(v NodeView) { w.receive(w.polled(v.Addr), v, nil) }

// silent has a node not answer.
func (w *watched) silent(addr string) { w.receive(w.polled(addr), NodeView{}, errors.New("silent")) }

// owners checks who has the three thirds.
func (w *watched) owners(want ...router.Node) {
	w.t.Helper()
	for i, n := range want {
		if got, _ := w.Snapshot().Primary(i * (router.Slots / 3)); got != n {
			w.t.Errorf("third %d belongs to %v, want %v", i, got, n)
		}
	}
}

func renamed(i int) router.Node {
	return router.Node{Addr: fmt.Sprintf("[2001:db8::%d]:7000", i), ID: node(i).ID}
}

// TestWatchAllAddressesChange: as when a cluster is moved. The start address leads to the new ones,
// and no old one wins by being there before.
func TestWatchAllAddressesChange(t *testing.T) {
	for _, stale := range []int{0, 1, 6} { // how many old addresses have been heard lately and are not known to be gone
		w := newWatched(t)
		for i := stale + 1; i <= 6; i++ {
			w.silent(node(i).Addr)
		}
		after := thirds("start:1", 1, renamed(1), renamed(2), renamed(3))
		for i := range after.Owners {
			after.Owners[i].Replicas = []router.Node{renamed(i + 4)}
		}
		w.hear(after)
		for i := 1; i <= 6; i++ {
			after.Addr = renamed(i).Addr
			w.hear(after)
		}
		for i := 1; i <= stale; i++ {
			w.silent(node(i).Addr)
		}
		w.owners(renamed(1), renamed(2), renamed(3))
		for _, shard := range w.Snapshot().Shards() {
			if len(shard.Replicas) != 1 || shard.Replicas[0].Addr[0] != '[' {
				t.Errorf("%+v", shard)
			}
		}
		w.refreshNodes()
		if len(w.nodes) != 7 {
			t.Errorf("%d nodes are asked, want the start address and 6", len(w.nodes))
		}
	}
}

// TestWatchMinority: a primary that was replaced is not believed, though it is the only one that we
// reach; until the one that replaced it says otherwise.
func TestWatchMinority(t *testing.T) {
	w := newWatched(t)
	promoted := node(4)
	after := thirds(node(2).Addr, 1, promoted, node(2), node(3))
	after.Owners[0].Epoch, after.Owners[0].Replicas = 9, nil
	w.hear(after)
	w.owners(promoted, node(2), node(3))
	for i := 2; i <= 6; i++ {
		w.silent(node(i).Addr)
	}
	for range 3 {
		w.hear(thirds(node(1).Addr, 1, node(1), node(2), node(3)))
	}
	for _, a := range w.nodes { // time passes: what the others said counts no more
		if a.addr != node(1).Addr {
			a.answeredAt = time.Time{}
		}
	}
	w.hear(thirds(node(1).Addr, 1, node(1), node(2), node(3)))
	w.owners(promoted, node(2), node(3))
	// The cluster was set up anew: who had the newest says so.
	w.hear(thirds(promoted.Addr, 1, node(1), node(2), node(3)))
	w.owners(node(1), node(2), node(3))
}

// TestWatchSaysSoStill: what is remembered of a node ends when that says otherwise, though it has
// said so before.
func TestWatchSaysSoStill(t *testing.T) {
	w := newWatched(t)
	promoted := node(4)
	other := thirds(node(2).Addr, 1, promoted, node(2), node(3))
	other.Owners[0].Epoch = 9
	w.hear(other)
	w.owners(promoted, node(2), node(3))
	before := thirds("", 1, node(1), node(2), node(3))
	before.Addr = node(2).Addr
	w.hear(before)
	w.owners(promoted, node(2), node(3)) // who was promoted has not been heard since
	before.Addr = promoted.Addr
	w.hear(before)
	w.owners(node(1), node(2), node(3))
}

// TestWatchNodesComeAndGo: a primary that joins and leaves, and a replica that goes to another
// shard.
func TestWatchNodesComeAndGo(t *testing.T) {
	w := newWatched(t)
	w.changes = nil
	joined := thirds(node(2).Addr, 1, node(1), node(2), node(3))
	joined.Owners[0].Slots.To = 99
	joined.Owners = append(joined.Owners, SlotOwner{Slots: router.SlotRange{From: 100, To: router.Slots/3 - 1}, Epoch: 9, Primary: node(7)})
	joined.Owners[1].Replicas = []router.Node{node(4), node(5)} // the replica of 1 follows 2
	joined.Owners[0].Replicas = nil
	for i := 1; i <= 6; i++ {
		joined.Addr = node(i).Addr
		w.hear(joined)
	}
	if got, _ := w.Snapshot().Primary(100); got != node(7) {
		t.Errorf("slot 100 belongs to %v", got)
	}
	moved := 0
	for _, c := range w.changes {
		moved += len(c.Moved)
	}
	if moved != 1 {
		t.Errorf("%d nodes moved, want 1: %+v", moved, w.changes)
	}
	left := thirds("", 1, node(1), node(2), node(3))
	left.Owners[0].Epoch = 10 // who takes slots gets a newer epoch
	for i := 1; i <= 7; i++ {
		left.Addr = node(i).Addr
		w.hear(left)
	}
	w.owners(node(1), node(2), node(3))
	w.refreshNodes()
	if w.nodes[node(7).Addr] != nil {
		t.Error("a node that left is asked")
	}
}

// TestWatchLateAnswer: the last to answer is a node that knows of its own new name only. It is not
// asked again under the old one, so nobody takes back what it says of the others; it must count no
// more once it is dropped.
func TestWatchLateAnswer(t *testing.T) {
	w := newWatched(t)
	late := w.polled(node(4).Addr)
	if !late.begin(time.Now()) {
		t.Fatal("it is asked already")
	}
	early := thirds(node(2).Addr, 1, node(1), node(2), node(3))
	early.Owners[0].Replicas = []router.Node{renamed(4)}
	w.hear(early)
	after := thirds("", 1, renamed(1), renamed(2), renamed(3))
	for i := range after.Owners {
		after.Owners[i].Replicas = []router.Node{renamed(i + 4)}
	}
	everybody := func() {
		w.refreshNodes()
		for _, addr := range slices.Sorted(maps.Keys(w.nodes)) {
			if a := w.nodes[addr]; !a.polling {
				view := after
				view.Addr = addr
				w.receive(a, view, nil)
			}
		}
	}
	everybody()
	early.Addr = late.addr
	w.receive(late, early, nil)
	for range 3 {
		everybody()
	}
	w.owners(renamed(1), renamed(2), renamed(3))
}
