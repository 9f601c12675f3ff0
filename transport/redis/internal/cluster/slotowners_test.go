package cluster

import (
	"fmt"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"pgregory.net/rapid"
)

// TestClaimsNewestWins: for every slot the owner with the highest epoch wins, whoever brings it and
// in whatever order.
func TestClaimsNewestWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var views []NodeView
		for i := range rapid.IntRange(1, 5).Draw(t, "views") {
			v := NodeView{Addr: node(i).Addr}
			for from := 0; from < router.Slots; {
				to := min(router.Slots-1, from+rapid.IntRange(1000, 9000).Draw(t, "size"))
				owner := rapid.IntRange(0, 7).Draw(t, "owner")
				if owner > 0 {
					// A node has one epoch in all views: that it differs is what the rule is not
					// about.
					v.Owners = append(v.Owners, SlotOwner{
						Slots: router.SlotRange{From: from, To: to}, Epoch: uint64(owner), Primary: node(owner),
						Replicas: []router.Node{node(100 + owner), node(owner%7 + 1)},
					})
				}
				from = to + 1
			}
			views = append(views, v)
		}
		snapshot, err := MergeViews(views)
		if err != nil {
			t.Fatal(err)
		}
		again, err := MergeViews(rapid.Permutation(views).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		if !router.Diff(snapshot, again).Empty() {
			t.Fatal("the order of the views matters")
		}
		for slot := 0; slot < router.Slots; slot += 97 {
			want := router.Node{}
			var epoch uint64
			for _, v := range views {
				for _, c := range v.Owners {
					if slot >= c.Slots.From && slot <= c.Slots.To && c.Epoch > epoch {
						epoch, want = c.Epoch, c.Primary
					}
				}
			}
			if got, _ := snapshot.Primary(slot); got != want {
				t.Fatalf("slot %d belongs to %v, want %v", slot, got, want)
			}
		}
	})
}

// TestClaimsIsolatedPrimary: one that was replaced owners its slots for ever, and is not believed.
func TestClaimsIsolatedPrimary(t *testing.T) {
	all := router.SlotRange{From: 0, To: router.Slots - 1}
	old := NodeView{Addr: node(1).Addr, Owners: []SlotOwner{{Slots: all, Epoch: 1, Primary: node(1), Replicas: []router.Node{node(2)}}}}
	promoted := NodeView{Addr: node(2).Addr, Owners: []SlotOwner{{Slots: all, Epoch: 2, Primary: node(2)}}}
	for _, views := range [][]NodeView{{old, promoted}, {promoted, old}, {old, old, promoted}} {
		snapshot, err := MergeViews(views)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := snapshot.Primary(0); got != node(2) {
			t.Errorf("%v", got)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for _, c := range []struct{ to, reached, want string }{
		{"10.0.0.1:7000", "h:1", "10.0.0.1:7000"},
		{":7000", "h:1", "h:7000"},
		{":7000", "[::1]:1", "[::1]:7000"},
		{"?:7000", "[::1]:1", ""},
		{"::1:7000", "h:1", ""},
		{"[::1]:7000", "h:1", "[::1]:7000"},
		{"nonsense", "h:1", ""},
	} {
		if got, _ := conn.CompleteAddr(c.to, c.reached); got != c.want {
			t.Errorf("endpoint(%q, %q) = %q, want %q", c.to, c.reached, got, c.want)
		}
	}
}

func TestRedirection(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"MOVED 5 10.0.0.1:7000", "10.0.0.1:7000"},
		{"MOVED 5 ::1:7000", "[::1]:7000"},
		{"MOVED 5 ::ffff:10.0.0.1:7000", "[::ffff:10.0.0.1]:7000"},
		{"MOVED 5 [::1]:7000", "[::1]:7000"},
		{"MOVED 5 node-1:7000", "node-1:7000"},
		{"MOVED 5 :7000", "here:7000"},
		{"MOVED 5 ?:7000", ""},
		{"MOVED 5 10.0.0.1", ""},
		{"MOVED 5 10.0.0.1:", ""},
		{"MOVED 5", ""},
		{"MOVED", ""},
		{"", ""},
		{"ASK 5 10.0.0.1:7000", ""},
	} {
		if got, _ := conn.ParseMoved(c.text, "here:1"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// TestServesPubSub: which answers to PING are those of a server that is of use.
func TestServesPubSub(t *testing.T) {
	for text, want := range map[string]bool{
		"MISCONF Redis is configured to save RDB snapshots": true, "MASTERDOWN Link with MASTER is down": true,
		"LOADING Redis is loading the dataset in memory": false, "NOAUTH Authentication required.": false, "NOPERM User x": false, "BUSY": false,
	} {
		if got := conn.ServesPubSub(fmt.Errorf("%w", resp.Error(text))); got {
			t.Errorf("%q, wrapped: %v", text, got) // only what came off the connection counts
		}
		if got := conn.ServesPubSub(resp.Error(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
