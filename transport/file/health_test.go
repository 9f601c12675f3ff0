package file

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// TestHealth: a log is down while it is not served, while it is full, and when it has failed.
func TestHealth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, path, Config{})
		want := func(why error) {
			t.Helper()
			synctest.Wait()
			down := l.Health().Down
			if (why == nil) != (down == nil) || why != nil && !errors.Is(down[0].Err, why) {
				t.Errorf("down: %v, want %v", down, why)
			}
		}
		want(transport.ErrNotServing)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- l.Serve(ctx) }()
		openTopic(t, l)
		append1(ctx, l, "p", 1)
		want(nil)
		l.current.Load().db.Fault = func(store.Step) error { return &fullError{} }
		append1(ctx, l, "p", 2)
		want(transport.ErrLogFull)
		if l.Health().Down[0].Since.IsZero() {
			t.Error("nobody knows since when")
		}
		l.current.Load().db.Fault = nil
		append1(ctx, l, "p", 2)
		want(nil)
		FailCommits(l)
		append1(ctx, l, "p", 3)
		want(transport.ErrLogFailed)
		if err := <-served; !errors.Is(err, transport.ErrLogFailed) {
			t.Error(err)
		}
		cancel()
	})
}
