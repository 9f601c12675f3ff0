package streamlog_test

import (
	"context"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

// cluster is that of the tests that break nothing.
var cluster = redistest.Share(redistest.ClusterConfig{Primaries: 3})

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m, cluster)) }

// open opens the log of the servers.
func open(t testing.TB, addrs ...string) transport.Log {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := redis.Open(ctx, redis.Config{Addrs: addrs, Lease: 2 * time.Second, Logger: zaptest.NewLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Log()
}

var features = logtest.Features{Partitions: 16, MaxPayload: transport.DefaultMaxPayload, Shared: true, Claim: true}

// TestSuite runs the suite of logs on real servers.
func TestSuite(t *testing.T) {
	redistest.Require(t)
	t.Run("standalone", func(t *testing.T) {
		server, err := redistest.StartServer(t.Context(), redistest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		suite(t, server.Addr())
	})
	t.Run("cluster", func(t *testing.T) { suite(t, cluster.Cluster(t).Addrs()...) })
}

func suite(t *testing.T, addrs ...string) {
	t.Helper()
	logtest.Test(t, func(testing.TB) logtest.Store {
		return logtest.Store{Open: func(t testing.TB) transport.Log { return open(t, addrs...) }}
	}, features)
}
