package bustest_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// TestTransport: what the author of a transport writes. It stands in for an
// example, since those have no *testing.T.
func TestTransport(t *testing.T) {
	newBroker := func(testing.TB) bustest.Broker {
		broker := memory.NewBroker()
		return bustest.Broker{Connect: func(testing.TB) transport.Transport { return broker.Connect() }}
	}
	bustest.TestTransport(t, newBroker, bustest.TransportFeatures{Ephemeral: true, Partitions: 16, Claim: true, Health: true, Forget: true, Bubble: true})
}
