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

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestSuite runs the suite on a server without a cluster.
func TestSuite(t *testing.T) {
	redistest.Require(t)
	server, err := redistest.StartServer(t.Context(), redistest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	logtest.Test(t, func(testing.TB) logtest.Store {
		return logtest.Store{Open: func(t testing.TB) transport.Log { return open(t, server.Addr()) }}
	}, features)
}
