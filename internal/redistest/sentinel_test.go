package redistest

import (
	"testing"
	"time"
)

func TestSentinel(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	began := time.Now()
	d := NewSentinel(t, SentinelConfig{Replicas: 2, Config: Config{Password: "secret"}, SentinelPassword: "other"})
	t.Logf("up after %v", time.Since(began))
	first := must(d.Primary(ctx))(t)
	if first != d.Nodes()[0] || len(d.SentinelAddrs()) != 3 || d.Name() != "main" {
		t.Fatalf("primary %s", first.Addr())
	}
	second := must(d.FailOver(ctx))(t)
	ok(t, second.Kill())
	began = time.Now()
	third := must(d.WaitNewPrimary(ctx, second))(t)
	t.Logf("promoted after %v", time.Since(began))
	ok(t, second.Restart(ctx))
	ok(t, d.WaitHealthy(ctx))
	if p := must(d.Primary(ctx))(t); p != third || third == second {
		t.Fatalf("primary %s", p.Addr())
	}
}
