package redistest

import (
	"testing"
	"time"
)

// TestMigrateBesideReplicaThatHangs: a replica that does not keep up delays a
// move (Valkey 8 and later), and does not end it.
func TestMigrateBesideReplicaThatHangs(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Replicas: 1, NodeTimeout: time.Minute})
	primaries := must(c.Primaries(ctx))(t)
	from, to := must(c.PrimaryFor(ctx, 0))(t), primaries[1]
	if from == to {
		to = primaries[0]
	}
	replicas := must(c.Replicas(ctx, to))(t)
	ok(t, replicas[0].Stop())
	moved := make(chan error, 1)
	go func() { moved <- c.MigrateSlot(ctx, 0, to) }()
	time.Sleep(2500 * time.Millisecond) // the length of the fault: longer than Valkey waits for replicas
	ok(t, replicas[0].Cont())
	ok(t, <-moved)
	ok(t, c.WaitHealthy(ctx))
	if now := must(c.PrimaryFor(ctx, 0))(t); now != to {
		t.Errorf("the slot is at %s", now.Addr())
	}
}
