package logtest_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

var memoryFeatures = logtest.Features{Partitions: 16, Shared: true, Within: true, Ranges: true, Claim: true, Bubble: true}

func newMemory(testing.TB) logtest.Store {
	store := memory.NewLog()
	return logtest.Store{Open: func(testing.TB) transport.Log { return store.Connect() }}
}

// TestMemory runs the suite on the log in memory.
func TestMemory(t *testing.T) {
	t.Run("in-a-bubble", func(t *testing.T) {
		t.Parallel()
		logtest.Test(t, newMemory, memoryFeatures)
	})
	t.Run("in-real-time", func(t *testing.T) {
		t.Parallel()
		inRealTime := memoryFeatures
		inRealTime.Bubble = false
		logtest.Test(t, newMemory, inRealTime)
	})
}
