package redistest

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// A Shared is a cluster that the tests of a package share. It starts when the
// first of them asks for it and is closed by the [Runner] that [Main] returns.
type Shared struct {
	cfg ClusterConfig

	mu      sync.Mutex // guards what follows
	started bool
	cluster *Cluster
	err     error // of the start
	closed  bool
}

// Share declares a shared cluster. It starts nothing, so it may initialise a
// package's variable.
func Share(cfg ClusterConfig) *Shared { return &Shared{cfg: cfg} }

// Cluster returns the shared cluster, healthy: what an earlier test killed is
// restarted, what it stopped goes on. Slots, roles and keys stay as they were
// left. Tests that run in parallel must not break it. When the test failed, the
// ends of the servers' logs are part of its output. See [Require] for what
// happens without a redis-server.
func (s *Shared) Cluster(t testing.TB) *Cluster {
	t.Helper()
	requireBinary(t, s.cfg.Binary)
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	c, err := s.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { showLogs(t, c.Nodes()...) })
	return c
}

// get starts the cluster the first time, and heals it every time. Callers wait
// for each other, so that one does not restart what another is restarting.
func (s *Shared) get(ctx context.Context) (*Cluster, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if !s.started {
		s.started = true
		s.cluster, s.err = StartCluster(ctx, s.cfg)
		return s.cluster, s.err
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.cluster, s.cluster.Heal(ctx)
}

// Close closes the cluster if it was started. Closing again does nothing.
func (s *Shared) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Close()
}

// A Runner runs a package's tests; it is what goleak.VerifyTestMain wants.
type Runner struct {
	tests  interface{ Run() int }
	shared []*Shared
}

// Main returns a runner that runs m's tests and then closes the shared
// clusters:
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m, cluster).Run()) }
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m, cluster)) }
func Main(m interface{ Run() int }, shared ...*Shared) *Runner {
	return &Runner{tests: m, shared: shared}
}

// Run runs the tests, closes the clusters and returns the code to exit with:
// that of the tests, or 1 when a cluster could not be closed.
func (r *Runner) Run() int {
	code := r.tests.Run()
	var err error
	for _, s := range r.shared {
		err = errors.Join(err, s.Close())
	}
	if err != nil && code == 0 {
		return 1
	}
	return code
}
