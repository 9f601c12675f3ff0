package redis

import (
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// TestEpochsOfRealNodes: every node's claim has its epoch in every view, that of the node which CLUSTER NODES lists first
// too. It would lose against older claims else.
func TestEpochsOfRealNodes(t *testing.T) {
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3})
	cfg, err := Config{Addrs: c.Addrs()}.resolved()
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range c.Addrs() {
		client, err := cfg.servers.Dial(t.Context(), addr, conn.NameOpen)
		if err != nil {
			t.Fatal(err)
		}
		view, err := askView(t.Context(), client, addr, true)
		client.Close()
		if err != nil || len(view.owners) != 3 {
			t.Fatalf("%+v, %v", view, err)
		}
		for _, claim := range view.owners {
			if claim.epoch == 0 || claim.primary.ID == "" {
				t.Errorf("%s has %+v", addr, claim)
			}
		}
	}
}
