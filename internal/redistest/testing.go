package redistest

import (
	"context"
	"testing"
	"time"
)

// setupTimeout bounds what a test waits for its servers.
const setupTimeout = 60 * time.Second

// Standalone starts a standalone server for the test and closes it at the
// test's end, after the cleanups registered later. When the test failed, the
// end of the server's log is part of its output. See [Require] for what happens
// without a redis-server.
func Standalone(t testing.TB, cfg Config) *Server {
	t.Helper()
	requireBinary(t, cfg.Binary)
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	s, err := StartServer(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLogs(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// NewCluster starts a cluster for the test and closes it at the test's end,
// else as [Standalone]. It returns when the cluster is healthy.
func NewCluster(t testing.TB, cfg ClusterConfig) *Cluster {
	t.Helper()
	requireBinary(t, cfg.Binary)
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c, err := StartCluster(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLogs(t, c.Nodes()...)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// NewSentinel starts a Sentinel deployment for the test and closes it at the
// test's end, else as [Standalone]. It returns when the deployment is healthy.
func NewSentinel(t testing.TB, cfg SentinelConfig) *Sentinel {
	t.Helper()
	requireBinary(t, cfg.Binary)
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	d, err := StartSentinel(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		showLogs(t, append(d.Nodes(), d.Sentinels()...)...)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// showLogs adds the ends of the servers' logs to the output of a failed test.
func showLogs(t testing.TB, servers ...*Server) {
	t.Helper()
	if !t.Failed() {
		return
	}
	for _, s := range servers {
		t.Logf("log of the server on %s:\n%s", s.Addr(), tail(s.Log(), logTail))
	}
}
