package redistest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// TestIsolate: a primary that is cut off is replaced, says that it is, and answers its clients as ever; when it is back it
// is its successor's replica.
func TestIsolate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("it needs Linux: see ClusterConfig.Isolatable")
	}
	ctx := deadline(t)
	c := NewCluster(t, ClusterConfig{Replicas: 1, NodeTimeout: time.Second, Isolatable: true})
	alone := must(c.PrimaryFor(ctx, 0))(t)
	ok(t, c.Isolate(alone))
	began := time.Now()
	next := must(c.WaitNewPrimary(ctx, 0, alone))(t)
	t.Logf("replaced after %v", time.Since(began))
	ok(t, poll(ctx, "the old primary to notice", func(ctx context.Context) error {
		info, err := alone.text(ctx, "CLUSTER", "INFO")
		if state := field(info, "cluster_state"); err == nil && state != "fail" {
			return fmt.Errorf("it says %q", state)
		}
		return err
	}))
	if view := must(alone.View(ctx))(t); !view.Myself().Primary() {
		t.Error("the old primary knows that it was replaced")
	}
	ok(t, c.Rejoin(alone))
	ok(t, c.WaitHealthy(ctx))
	if view := must(alone.View(ctx))(t); view.Myself().PrimaryID != c.ID(next) {
		t.Errorf("it came back as %+v", view.Myself())
	}
	ok(t, alone.Kill()) // what makes it isolatable is not lost with it
	ok(t, alone.Restart(ctx))
	ok(t, c.WaitHealthy(ctx))

	other := Standalone(t, Config{})
	if err := c.Isolate(other); err == nil {
		t.Error("a server of another cluster was isolated")
	}
}

func TestIsolateNeedsConfig(t *testing.T) {
	c := &Cluster{}
	if err := c.Isolate(nil); !errors.Is(err, errNotIsolatable) {
		t.Errorf("%v", err)
	}
}
