package logtest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bustest/logtest"
)

// failureRecorder is a test that notes that it failed, and fails nothing.
type failureRecorder struct {
	testing.TB
	ctx  context.Context
	stop context.CancelFunc

	mu sync.Mutex
	// mu guards what follows.
	failed   bool
	failures []string
	cleanups []func()
}

// record runs a case as a test of its own and returns how it went.
func record(t *testing.T, k logtest.Case, newStore func(testing.TB) logtest.Store, f logtest.Features) *failureRecorder {
	t.Helper()
	r := &failureRecorder{TB: t}
	r.ctx, r.stop = context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		defer r.tidy()
		k.Run(r, newStore, f)
	})
	running.Wait()
	return r
}

func (r *failureRecorder) tidy() {
	r.stop()
	for {
		r.mu.Lock()
		n := len(r.cleanups)
		if n == 0 {
			r.mu.Unlock()
			return
		}
		f := r.cleanups[n-1]
		r.cleanups = r.cleanups[:n-1]
		r.mu.Unlock()
		f()
	}
}

func (r *failureRecorder) Context() context.Context { return r.ctx }
func (r *failureRecorder) Helper()                  {}
func (r *failureRecorder) Logf(string, ...any)      {}
func (r *failureRecorder) Log(...any)               {}

func (r *failureRecorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *failureRecorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *failureRecorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *failureRecorder) Fail() { r.Errorf("Fail") }

func (r *failureRecorder) FailNow() {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *failureRecorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *failureRecorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *failureRecorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// text is everything that was said of the failure.
func (r *failureRecorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(slices.Clone(r.failures), "\n")
}
