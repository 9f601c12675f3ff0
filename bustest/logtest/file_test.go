package logtest_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
)

func newFile(sync file.Sync) func(testing.TB) logtest.Store {
	return func(t testing.TB) logtest.Store {
		path := filepath.Join(t.TempDir(), "log")
		return logtest.Store{Open: func(t testing.TB) transport.Log {
			l, err := file.Open(path, file.Config{Sync: sync})
			if err != nil {
				t.Fatal(err)
			}
			return l
		}}
	}
}

// TestFile runs the suite on the log in a file.
func TestFile(t *testing.T) {
	features := logtest.Features{Partitions: 8, MaxPayload: transport.DefaultMaxPayload, Within: true, Claim: true}
	inBubble := features
	inBubble.Bubble = true
	t.Run("in-real-time", func(t *testing.T) { logtest.Test(t, newFile(file.Always), features) })
	t.Run("in-a-bubble", func(t *testing.T) { logtest.Test(t, newFile(file.Always), inBubble) })
	t.Run("each-interval", func(t *testing.T) { logtest.Test(t, newFile(file.Interval(2*time.Millisecond)), features) })
}
