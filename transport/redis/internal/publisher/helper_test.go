package publisher

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSettings are like the defaults of redis.Config.
func testSettings() Settings {
	return Settings{
		Conn: &conn.Settings{CommandTimeout: time.Second, Logger: zap.NewNop()}, CommandTimeout: time.Second, PublishTimeout: 15 * time.Second,
		QueueEvents: 8192, QueueBytes: 16 << 20, StandbyAfter: 100 * time.Millisecond,
		Memory:       &sendwindow.Limits{Events: 1000, Bytes: 1 << 20, TotalEvents: 10_000, TotalBytes: 16 << 20, Age: time.Minute},
		Capabilities: transport.Capabilities{Name: "redis", MaxPayload: 1 << 20},
		Compact:      func(string) bool { return false },
		Logger:       zap.NewNop(),
	}
}

// fakeCluster is a cluster of which a test says what it looks like.
type fakeCluster struct {
	snapshot atomic.Pointer[router.Snapshot]
}

func newFakeCluster(s *router.Snapshot) *fakeCluster {
	c := new(fakeCluster)
	c.snapshot.Store(s)
	return c
}

func (c *fakeCluster) Snapshot() *router.Snapshot { return c.snapshot.Load() }

func (c *fakeCluster) Owner(slot int) string {
	node, _ := c.snapshot.Load().Primary(slot)
	return node.Addr
}

func (c *fakeCluster) Suspect()                                  {}
func (c *fakeCluster) Hint()                                     {}
func (c *fakeCluster) IsStandalone() bool                        { return false }
func (c *fakeCluster) CheckServer(string, conn.ServerRole) error { return nil }
func (c *fakeCluster) ExplainMoved(err error, _ string) error    { return err }

// at is the key of an ordinary connection.
func at(addr string) connkey.Key { return connkey.Key{Addr: addr} }

// oneShard is a cluster of one shard.
func oneShard(t testing.TB, primary string, replicas ...string) *router.Snapshot {
	t.Helper()
	shard := router.Shard{Primary: router.Node{Addr: primary, ID: primary}, Slots: []router.SlotRange{{From: 0, To: router.Slots - 1}}}
	for _, r := range replicas {
		shard.Replicas = append(shard.Replicas, router.Node{Addr: r, ID: r})
	}
	s, err := router.NewSnapshot([]router.Shard{shard})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
