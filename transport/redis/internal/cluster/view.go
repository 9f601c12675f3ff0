package cluster

import (
	"context"
	"maps"
	"slices"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// FetchView asks one node for its view of the cluster. Both commands are one pipeline, so they tell
// of one moment. health has it asked too whether it is cut off.
func FetchView(ctx context.Context, client rueidis.CoreClient, addr string, health bool) (NodeView, error) {
	commands := []rueidis.Completed{client.B().ClusterSlots().Build(), client.B().ClusterNodes().Build()}
	if health {
		commands = append(commands, client.B().ClusterInfo().Build())
	}
	replies := client.DoMulti(ctx, commands...)
	slots, err := replies[0].ToArray()
	if err != nil {
		return NodeView{}, err
	}
	owners, err := parseSlotOwners(slots, addr)
	if err != nil {
		return NodeView{}, err
	}
	// Without epochs (a server that has only CLUSTER SLOTS) all views weigh the same.
	if nodes, err := conn.TextOf(replies[1]); err == nil {
		listed := parseClusterNodes(nodes)
		addEpochs(owners, listed)
		addReplicas(owners, listed, addr)
	}
	view := NodeView{Addr: addr, Owners: owners}
	if health {
		if info, err := conn.TextOf(replies[2]); err == nil {
			view.failing = conn.InfoField(info, "cluster_state") == "fail"
		}
	}
	return view, nil
}

// Nodes returns the addresses in a view.
func (v NodeView) Nodes() []string {
	found := make(map[string]bool)
	for _, c := range v.Owners {
		found[c.Primary.Addr] = true
		for _, r := range c.Replicas {
			found[r.Addr] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}
