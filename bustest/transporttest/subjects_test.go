package transporttest_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
	"github.com/shardbus/shardbus/transport/redis"
)

// subject is a transport that the suite is run on. The table in docs/conformance.md
// is made of the same list.
type subject struct {
	name     string
	column   string // of the table; empty: none
	features transporttest.Features
	// start starts what all cases share.
	start func(t *testing.T) (newBroker func(testing.TB) transporttest.Broker)
}

func subjects() []subject {
	ofMemory := transporttest.Features{Ephemeral: true, Partitions: 16, Claim: true, Health: true, Sever: true, Mismatch: true, Forget: true, Bubble: true}
	inRealTime := ofMemory
	inRealTime.Bubble = false
	ofRedis := transporttest.Features{
		Ephemeral: true, Partitions: 16, MaxPayload: redis.DefaultMaxPayload, Claim: true, Health: true, Close: true, Sever: true, Mismatch: true, Garble: true, Forget: true,
	}
	onFakes := ofRedis
	onFakes.Bubble = true
	return []subject{
		{name: "memory", column: "memory", features: ofMemory, start: newMemory},
		{name: "memory-in-real-time", features: inRealTime, start: newMemory},
		{name: "redis-on-fakecluster-7.0.15", column: "redis, fakecluster", features: onFakes, start: onFake("7.0.15")},
		{name: "redis-on-fakecluster-7.2.4", features: onFakes, start: onFake("7.2.4")},
		{name: "redis-on-fakecluster-8.0.0", features: onFakes, start: onFake("8.0.0")},
		{name: "redis-on-a-server", column: "redis, standalone", features: ofRedis, start: onServers(standalone)},
		{name: "redis-on-a-cluster", column: "redis, cluster", features: ofRedis, start: onServers(cluster)},
	}
}

func newMemory(*testing.T) func(testing.TB) transporttest.Broker {
	return func(testing.TB) transporttest.Broker {
		broker := memory.NewBroker()
		return transporttest.Broker{
			Connect: func(testing.TB) transport.Transport { return broker.Connect() },
			Sever: func(_ testing.TB, tr transport.Transport) (mend func()) {
				t, _ := tr.(*memory.Transport)
				return t.Sever()
			},
		}
	}
}

// TestSubjects runs the suite on every transport of this module.
func TestSubjects(t *testing.T) {
	for _, s := range subjects() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			transporttest.Test(t, s.start(t), s.features)
		})
	}
}
