package durabletest

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// onBothLogs runs a test in a bubble, with a log in memory and with one in a file. open opens it, and
// opens it again after it was closed.
func onBothLogs(t *testing.T, test func(t *testing.T, open func() transport.Log)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := memory.NewLog()
			test(t, func() transport.Log { return log.Connect() })
		})
	})
	t.Run("file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "test.db")
		synctest.Test(t, func(t *testing.T) {
			test(t, func() transport.Log {
				t.Helper()
				log, err := file.Open(path, file.Config{})
				if err != nil {
					t.Fatal(err)
				}
				return log
			})
		})
	})
}

// start makes a bus on a log. stop ends both in order.
func start(t *testing.T, log transport.Log) (b *bus.Bus, stop func()) {
	t.Helper()
	b, err := bus.New(bus.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return b, func() {
		t.Helper()
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
}

// recorder is a handler that keeps what it was given.
type recorder chan bus.Message[order]

func (r recorder) handle(_ context.Context, m bus.Message[order]) error {
	r <- m
	return nil
}

// subscribe has r handle a topic's events from the first on.
func (r recorder) subscribe(t *testing.T, topic *bus.Topic[order], name string, opts ...bus.SubscribeOption) *bus.Subscription {
	t.Helper()
	sub, err := topic.SubscribeMessage(t.Context(), name, r.handle, append(opts, bus.From(bus.Earliest()))...)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// pass lets time pass, which is a bubble's, and everything that is under way then end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// settle lets everything that is under way end.
func settle() { pass(time.Second) }
