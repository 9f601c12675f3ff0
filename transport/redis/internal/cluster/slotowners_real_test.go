package cluster

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// TestEpochsOfRealNodes: every node's owner has its epoch in every view, that of the node which
// CLUSTER NODES lists first too. It would lose against older owners else.
func TestEpochsOfRealNodes(t *testing.T) {
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3})
	servers := &conn.Settings{CommandTimeout: time.Second, Logger: zap.NewNop(), Calls: new(usercode.Calls)}
	for _, addr := range c.Addrs() {
		client, err := servers.Dial(t.Context(), addr, conn.NameOpen)
		if err != nil {
			t.Fatal(err)
		}
		view, err := FetchView(t.Context(), client, addr, true)
		client.Close()
		if err != nil || len(view.Owners) != 3 {
			t.Fatalf("%+v, %v", view, err)
		}
		for _, owner := range view.Owners {
			if owner.Epoch == 0 || owner.Primary.ID == "" {
				t.Errorf("%s has %+v", addr, owner)
			}
		}
	}
}
