package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// sentinelConfig reaches a deployment.
func sentinelConfig(d *redistest.Sentinel) redis.Config {
	return redis.Config{Sentinel: redis.Sentinel{Addrs: d.SentinelAddrs(), Primary: d.Name()}}
}

// TestSentinelFaults lets the primary be replaced in every way, and compares what was accepted with what was handled and
// what was reported.
func TestSentinelFaults(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks servers: not in short mode")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	d := redistest.NewSentinel(t, redistest.SentinelConfig{Replicas: 3, DownAfter: time.Second})
	f := startFlowAt(t, sentinelConfig(d), 10, flowEvery)

	for _, fault := range []struct {
		name   string
		inject func(*redistest.Server) error
	}{
		{"graceful fail-over", func(*redistest.Server) error { _, err := d.FailOver(ctx); return err }},
		{"kill -9", (*redistest.Server).Kill},
		{"SIGSTOP", (*redistest.Server).Stop},
	} {
		old, err := d.Primary(ctx)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := fault.inject(old); err != nil {
			t.Fatal(err)
		}
		if _, err := d.WaitNewPrimary(ctx, old); err != nil {
			t.Fatal(err)
		}
		known := time.Now()
		f.flowing(t)
		t.Logf("%s: new primary known after %v, every topic back %v later", fault.name,
			known.Sub(start).Round(time.Millisecond), time.Since(known).Round(time.Millisecond))
		if fault.name == "SIGSTOP" {
			// It comes back and believes for a while that it is the primary.
			if err := old.Cont(); err != nil {
				t.Fatal(err)
			}
			f.flowing(t)
		}
	}
	f.check(t)
}

// TestSentinelAlone: with most of the sentinels gone, or hung, the one that is left will do; and a login of its own is
// given to sentinels.
func TestSentinelAlone(t *testing.T) {
	t.Parallel()
	d := redistest.NewSentinel(t, redistest.SentinelConfig{
		Config: redistest.Config{Password: "servers"}, SentinelPassword: "sentinels",
	})
	cfg := sentinelConfig(d)
	cfg.Password, cfg.Sentinel.Password = "servers", "sentinels"
	if err := d.Sentinels()[0].Stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.Sentinels()[1].Kill(); err != nil {
		t.Fatal(err)
	}
	f := startFlowAt(t, cfg, 3, flowEvery)
	f.check(t)

	// The user of docs/redis.md may do all that is needed.
	do(t, d.Sentinels()[2], rulesOf(t, 1)...)
	core, logs := observer.New(zap.WarnLevel)
	limited := cfg
	limited.Sentinel.Username, limited.Sentinel.Password, limited.Logger = "app", "PASSWORD", zap.New(core)
	n := serve(t, limited)
	n.subscribe(t, transport.Topic{Name: "limited"})
	eventually(t, "the subscription at the sentinel", func() error {
		reply, err := d.Sentinels()[2].Do(t.Context(), "CLIENT", "LIST")
		if err == nil && !strings.Contains(fmt.Sprint(reply), "user=app") {
			err = errors.New("it is not there")
		}
		return err
	})
	n.stop()
	for _, entry := range logs.All() {
		t.Errorf("%v", entry)
	}

	eventually(t, "what Check finds", func() error {
		r := check(t, cfg)
		return errors.Join(
			finds(r, redis.Warning, d.SentinelAddrs()[0], "sentinel", "deadline"),
			finds(r, redis.Warning, d.SentinelAddrs()[1], "sentinel", "refused"),
			finds(r, redis.Error, d.SentinelAddrs()[2], "sentinel", "NOQUORUM"),
			finds(r, redis.Warning, d.SentinelAddrs()[2], "sentinel", "counts sentinels that it cannot reach: "),
			finds(r, redis.Warning, "", "replicas", "has none"))
	})

	for _, c := range []struct {
		name   string
		change func(*redis.Config)
		want   error
		words  string
	}{
		{"sentinels' password", func(c *redis.Config) { c.Sentinel.Password = "wrong" }, redis.ErrAuth, d.SentinelAddrs()[2]},
		{"servers' password", func(c *redis.Config) { c.Password = "wrong" }, redis.ErrAuth, d.Nodes()[0].Addr()},
		{"name", func(c *redis.Config) { c.Sentinel.Primary = "nobody"; c.PublishTimeout = time.Millisecond }, redis.ErrNoPrimary, "nobody"},
		{"nobody there", func(c *redis.Config) { c.Sentinel.Addrs = []string{"127.0.0.1:1"} }, redis.ErrUnreachable, "127.0.0.1:1"},
		{"a sentinel as server", func(c *redis.Config) {
			c.Addrs, c.Sentinel, c.Password = d.SentinelAddrs()[2:], redis.Sentinel{}, "sentinels"
		}, redis.ErrUnreachable, "redis+sentinel://"},
	} {
		t.Run(c.name, func(t *testing.T) {
			other := cfg
			c.change(&other)
			if err := open(t, other); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("%v, want %v with %q", err, c.want, c.words)
			}
		})
	}
}

// TestSentinelsCompared: Check compares what the sentinels say, which settle their settings with nobody.
func TestSentinelsCompared(t *testing.T) {
	t.Parallel()
	d := redistest.NewSentinel(t, redistest.SentinelConfig{Replicas: 1})
	cfg := sentinelConfig(d)
	eventually(t, "nothing to compare", func() error {
		for _, f := range check(t, cfg).Findings {
			if f.Subject == "sentinel" {
				return errors.New(f.String())
			}
		}
		return nil
	})
	odd := d.Sentinels()[1]
	do(t, odd, "SENTINEL", "SET", cfg.Sentinel.Primary, "quorum", "3")
	do(t, odd, "SENTINEL", "SET", cfg.Sentinel.Primary, "down-after-milliseconds", "77000")
	r := check(t, cfg)
	if err := errors.Join(
		finds(r, redis.Warning, odd.Addr(), "sentinel", "its quorum: 3; most others': 2"),
		finds(r, redis.Warning, odd.Addr(), "sentinel", "its down-after-milliseconds: 77000"),
	); err != nil {
		t.Error(err)
	}
}

// TestSentinelMeetsOthers: of three sentinels, which speak TLS as the servers do, one is named; it dies, and with it
// nothing is lost.
func TestSentinelMeetsOthers(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks servers: not in short mode")
	}
	ctx := within(t)
	d := redistest.NewSentinel(t, redistest.SentinelConfig{Config: redistest.Config{TLS: true}, Replicas: 1, DownAfter: time.Second})
	cfg := sentinelConfig(d)
	cfg.TLS, cfg.Sentinel.TLS = d.Nodes()[0].TLSConfig(), trusting(d.Nodes()[0])
	cfg.Sentinel.Addrs = cfg.Sentinel.Addrs[:1]
	asked := make(chan string, 1<<16)
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		asked <- addr
		return new(net.Dialer).DialContext(ctx, "tcp", addr)
	}
	f := startFlowAt(t, cfg, 3, flowEvery)
	for met := map[string]bool{}; !met[d.SentinelAddrs()[1]] || !met[d.SentinelAddrs()[2]]; {
		select {
		case addr := <-asked:
			met[addr] = true
		case <-ctx.Done():
			t.Fatal("the other sentinels are not asked")
		}
	}
	if err := d.Sentinels()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	old, err := d.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.WaitNewPrimary(ctx, old); err != nil {
		t.Fatal(err)
	}
	f.flowing(t)
	f.check(t)
}
