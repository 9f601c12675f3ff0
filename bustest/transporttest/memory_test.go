package transporttest_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

var memoryFeatures = transporttest.Features{Ephemeral: true, Partitions: 16, Claim: true, Bubble: true}

func newMemory(testing.TB) transporttest.Broker {
	broker := memory.NewBroker()
	return transporttest.Broker{Connect: func(testing.TB) transport.Transport { return broker.Connect() }}
}

func TestMemory(t *testing.T) { transporttest.Test(t, newMemory, memoryFeatures) }

// TestMemoryInRealTime: threads and clocks as they are.
func TestMemoryInRealTime(t *testing.T) {
	features := memoryFeatures
	features.Bubble = false
	transporttest.Test(t, newMemory, features)
}
