package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Also: two clusters at once, as this runs beside the other tests' clusters.
func TestClusterUp(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := NewCluster(t, ClusterConfig{Primaries: 3, Replicas: 1})
	took := time.Since(began)
	t.Logf("3 primaries with a replica each are up after %v", took)
	if took > 10*time.Second {
		t.Errorf("a cluster took %v", took)
	}
	ctx := deadline(t)
	nodes := c.Nodes()
	if p := must(c.Primaries(ctx))(t); !slices.Equal(p, nodes[:3]) {
		t.Fatalf("primaries %v", p)
	}
	for i, p := range nodes[:3] {
		if r := must(c.Replicas(ctx, p))(t); !slices.Equal(r, nodes[3+i:4+i]) {
			t.Fatalf("replicas of %s: %v", p.Addr(), r)
		}
	}
	if p := must(c.PrimaryFor(ctx, SlotCount-1))(t); p != nodes[2] {
		t.Fatalf("the last slot is at %s", p.Addr())
	}
	if slot := must(c.KeySlot(ctx, "foo"))(t); slot != 12182 {
		t.Fatalf("slot of foo: %d", slot)
	}
	if c.Node(c.Addrs()[4]) != nodes[4] || c.Node("127.0.0.1:1") != nil {
		t.Fatal("Node and Addrs differ")
	}
	other := Standalone(t, Config{})
	if _, err := c.Replicas(ctx, other); err == nil {
		t.Fatal("replicas of a server of another cluster")
	}
}

func TestGracefulFailOver(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Replicas: 1})
	old := must(c.PrimaryFor(ctx, 0))(t)
	replica := must(c.Replicas(ctx, old))(t)[0]
	began := time.Now()
	ok(t, c.FailOver(ctx, replica, Graceful))
	t.Logf("graceful fail-over took %v", time.Since(began))
	ok(t, c.WaitHealthy(ctx))
	if p := must(c.PrimaryFor(ctx, 0))(t); p != replica {
		t.Fatalf("slot 0 is at %s", p.Addr())
	}
	if r := must(c.Replicas(ctx, replica))(t); !slices.Equal(r, []*Server{old}) {
		t.Fatalf("replicas of the new primary: %v", r)
	}
	// Back and forth again: voters refuse at first, and are asked again.
	ok(t, c.FailOver(ctx, old, Force))
	ok(t, c.WaitHealthy(ctx))
	ok(t, c.FailOver(ctx, replica, TakeOver))
	ok(t, c.FailOver(ctx, replica, TakeOver)) // it is one already
	ok(t, c.WaitHealthy(ctx))
}

func TestKillAndPromotion(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Replicas: 1, NodeTimeout: time.Second})
	old := must(c.PrimaryFor(ctx, 0))(t)
	replica := must(c.Replicas(ctx, old))(t)[0]
	ok(t, old.Kill())
	if _, err := c.PrimaryFor(ctx, 0); !errors.Is(err, ErrNoPrimary) {
		t.Fatalf("owner just after the kill: %v", err)
	}
	began := time.Now()
	if p := must(c.WaitNewPrimary(ctx, 0, old))(t); p != replica {
		t.Fatalf("promoted: %s", p.Addr())
	}
	t.Logf("promoted after %v", time.Since(began))
	ok(t, c.WaitHealthy(ctx)) // without the dead one
	ok(t, c.Heal(ctx))
	if r := must(c.Replicas(ctx, replica))(t); !slices.Equal(r, []*Server{old}) {
		t.Fatalf("the old primary came back as something else: %v", r)
	}
	ok(t, replica.Stop())
	if p := must(c.WaitNewPrimary(ctx, 0, replica))(t); p != old {
		t.Fatalf("promoted: %s", p.Addr())
	}
	ok(t, c.Heal(ctx))
}

func TestWaitHealthySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Primaries: 2})
	ok(t, c.Nodes()[0].Kill())
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	err := c.WaitHealthy(short)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "8192 slots") {
		t.Fatalf("half a cluster: %v", err)
	}
}

func TestMigrateSlots(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := shared.Cluster(t)
	key := "redistest-migrate"
	slot := must(c.KeySlot(ctx, key))(t)
	from := must(c.PrimaryFor(ctx, slot))(t)
	primaries := must(c.Primaries(ctx))(t)
	to := primaries[(slices.Index(primaries, from)+1)%3]
	const n = 300 // more than one batch
	for i := range n {
		must(from.Do(ctx, "SET", fmt.Sprintf("{%s}%d", key, i), "v"))(t)
	}

	t.Run("with keys", func(t *testing.T) {
		ok(t, c.MigrateSlot(ctx, slot, to))
		ok(t, c.MigrateSlot(ctx, slot, to)) // it is there already
		if p := must(c.PrimaryForKey(ctx, key))(t); p != to {
			t.Fatalf("the slot is at %s", p.Addr())
		}
		ok(t, c.WaitHealthy(ctx))
		for i := range n {
			if v := must(to.Do(ctx, "GET", fmt.Sprintf("{%s}%d", key, i)))(t); v != "v" {
				t.Fatalf("key %d after the move: %v", i, v)
			}
		}
	})
	t.Run("step by step", func(t *testing.T) {
		m := must(c.BeginMigration(ctx, slot, from))(t)
		if moved := must(m.MoveKeys(ctx, 5))(t); moved != 5 || m.From() != to || m.To() != from {
			t.Fatalf("%d keys moved", moved)
		}
		if got := must(from.Do(ctx, "CLUSTER", "COUNTKEYSINSLOT", fmt.Sprint(slot)))(t); got != int64(5) {
			t.Fatalf("%v keys at the target", got)
		}
		ok(t, m.Cancel(ctx))
		if got := must(to.Do(ctx, "CLUSTER", "COUNTKEYSINSLOT", fmt.Sprint(slot)))(t); got != int64(n) {
			t.Fatalf("%v keys at the source after Cancel", got)
		}
		m = must(c.BeginMigration(ctx, slot, from))(t)
		ok(t, m.Finish(ctx))
		ok(t, c.WaitHealthy(ctx))
	})
	t.Run("without keys, many", func(t *testing.T) {
		before := must(from.View(ctx))(t).Myself().Slots
		began := time.Now()
		ok(t, c.MigrateSlots(ctx, from, to, 1000))
		t.Logf("1000 slots moved in %v", time.Since(began))
		ok(t, c.WaitHealthy(ctx))
		if after := must(from.View(ctx))(t).Myself().Slots; count(after) != count(before)-1000 {
			t.Fatalf("slots left: %v", after)
		}
		if p := must(c.PrimaryFor(ctx, before[0].First))(t); p != to {
			t.Fatalf("slot %d is at %s", before[0].First, p.Addr())
		}
		if err := c.MigrateSlots(ctx, from, to, SlotCount); err == nil {
			t.Fatal("moved more slots than there are")
		}
	})
}

func TestClusterGrowsAndShrinks(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Replicas: 1, Config: Config{Password: "secret", TLS: true}})
	nodes := c.Nodes()
	added := must(c.AddPrimary(ctx))(t)
	ok(t, c.MigrateSlots(ctx, nodes[0], added, 100))
	replica := must(c.AddReplica(ctx, added))(t)
	ok(t, c.WaitHealthy(ctx))

	// A replica changes its shard.
	ok(t, c.Replicate(ctx, replica, nodes[1]))
	if r := must(c.Replicas(ctx, nodes[1]))(t); len(r) != 2 {
		t.Fatalf("replicas: %v", r)
	}
	ok(t, c.MigrateSlots(ctx, added, nodes[0], 100))
	ok(t, c.Remove(ctx, added))
	ok(t, c.WaitHealthy(ctx))
	if len(c.Nodes()) != 7 || c.ID(added) != "" || added.Alive() {
		t.Fatal("the removed node is still there")
	}
}

func TestSharedIsHealed(t *testing.T) {
	c := shared.Cluster(t)
	nodes := c.Nodes()
	ok(t, nodes[4].Kill())
	ok(t, nodes[5].Stop())
	if again := shared.Cluster(t); again != c {
		t.Fatal("another cluster")
	}
	for _, n := range nodes {
		if !n.Running() {
			t.Errorf("%s does not run", n.Addr())
		}
	}
}
