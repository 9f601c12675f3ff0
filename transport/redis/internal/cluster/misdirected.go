package cluster

import (
	"fmt"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// wrongWay says what is wrong with a MOVED from the node at addr, in words for who cannot publish
// or subscribe. Empty: it names another node of the topology, as it should.
func (t *Topology) Misdirection(err error, addr string) string {
	if conn.Classify(err) != conn.ReplyMoved {
		return ""
	}
	to, ok := conn.MovedTarget(err, addr)
	if !ok {
		return "it names no address to go to: see CLUSTER SLOTS there"
	}
	if to == addr {
		return "it sends us to itself: see CLUSTER SLOTS there, and whether its address is that of one server"
	}
	if _, known := t.snapshot.Load().NodeShard(to); !known {
		return "it sends us to " + to + ", which no node has named: see CLUSTER SLOTS there, and cluster-announce-ip or hostname"
	}
	return ""
}

// ExplainMoved adds to a MOVED from the node at addr what is wrong with it.
func (t *Topology) ExplainMoved(err error, addr string) error {
	if wrong := t.Misdirection(err, addr); wrong != "" {
		return fmt.Errorf("%w: %s", err, wrong)
	}
	return err
}
