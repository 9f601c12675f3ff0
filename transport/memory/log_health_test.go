package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// A log is down while it is not served.
func TestLogHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.NewLog()
		if down := l.Health().Down; len(down) != 1 || !errors.Is(down[0].Err, transport.ErrNotServing) {
			t.Errorf("before Serve: %v", down)
		}
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- l.Serve(ctx) }()
		synctest.Wait()
		if down := l.Health().Down; down != nil {
			t.Errorf("while it is served: %v", down)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}
