package transporttest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bustest/transporttest"
)

// recorder is a test that notes that it failed, and fails nothing.
type recorder struct {
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
func record(t *testing.T, k transporttest.Case, newBroker func(testing.TB) transporttest.Broker, f transporttest.Features) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	r.ctx, r.stop = context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		defer r.tidy()
		k.Run(r, newBroker, f)
	})
	running.Wait()
	return r
}

func (r *recorder) tidy() {
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

func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) Log(...any)               {}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Error(args ...any) { r.Errorf("%s", fmt.Sprint(args...)) }

func (r *recorder) Fail() { r.Errorf("Fail") }

func (r *recorder) FailNow() {
	r.mu.Lock()
	r.failed = true
	r.mu.Unlock()
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	r.FailNow()
}

func (r *recorder) Fatal(args ...any) { r.Fatalf("%s", fmt.Sprint(args...)) }

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// text is everything that was said of the failure.
func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(slices.Clone(r.failures), "\n")
}
