package cluster

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// clusterNode is one line of CLUSTER NODES: what a node believes of another, or of itself.
type clusterNode struct {
	id       string
	ip       string // as it is announced; empty: the node does not know its own
	port     string
	hostname string // as it is announced; empty: none
	flags    []string
	primary  string // of a replica: the ID of its primary
	epoch    uint64
}

// parseClusterNodes reads the text of CLUSTER NODES. A line reads "id ip:port@busport,hostname
// flags primary ping pong epoch link slots…", and an IPv6 address has no brackets in it. What
// cannot be read is left out.
func parseClusterNodes(text string) []clusterNode {
	const id, at, flags, primary, configEpoch, words = 0, 1, 2, 3, 6, 8
	var listed []clusterNode
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) < words {
			continue
		}
		m := clusterNode{id: w[id], flags: strings.Split(w[flags], ",")}
		var err error
		if m.epoch, err = strconv.ParseUint(w[configEpoch], 10, 64); err != nil {
			continue
		}
		if w[primary] != "-" {
			m.primary = w[primary]
		}
		clients, rest, _ := strings.Cut(w[at], "@")
		if i := strings.LastIndexByte(clients, ':'); i >= 0 {
			m.ip, m.port = clients[:i], clients[i+1:]
		}
		m.ip = strings.TrimSuffix(strings.TrimPrefix(m.ip, "["), "]")
		// Later versions may tell more after the hostname, as "name=value".
		if names := strings.Split(rest, ","); len(names) > 1 && !strings.Contains(names[1], "=") {
			m.hostname = names[1]
		}
		listed = append(listed, m)
	}
	return listed
}

// serves reports whether m is a replica that CLUSTER SLOTS may name: it leaves out those that the
// cluster has given up.
func (m clusterNode) serves() bool {
	gone := slices.ContainsFunc(m.flags, func(flag string) bool { return flag == "fail" || flag == "noaddr" || flag == "handshake" })
	return !gone && m.primary != "" && (slices.Contains(m.flags, "slave") || slices.Contains(m.flags, "replica"))
}

// addEpochs notes the configuration epochs of the owners' primaries.
func addEpochs(owners []SlotOwner, listed []clusterNode) {
	epochs := make(map[string]uint64, len(listed))
	for _, m := range listed {
		epochs[m.id] = m.epoch
	}
	for i := range owners {
		owners[i].Epoch = epochs[owners[i].Primary.ID]
	}
}

// addReplicas adds the replicas that CLUSTER SLOTS leaves out because their replication offset is
// 0: all of a cluster that was just made, and those of a primary that was started anew and is
// empty, until it pings them, every 10 s as servers come. Such a replica gets what is published at
// its primary, passes on what is published there, and can be promoted. Events go over the cluster
// bus, which knows no offset.
func addReplicas(owners []SlotOwner, listed []clusterNode, reached string) {
	address := addressing(owners, listed, reached)
	if address == nil {
		return
	}
	byPrimary := make(map[string][]router.Node)
	for _, m := range listed {
		if !m.serves() {
			continue
		}
		if addr, ok := address(m); ok {
			byPrimary[m.primary] = append(byPrimary[m.primary], router.Node{Addr: addr, ID: m.id})
		}
	}
	for _, replicas := range byPrimary {
		// The order of CLUSTER NODES means nothing, and differs from node to node.
		slices.SortFunc(replicas, func(a, b router.Node) int { return cmp.Compare(a.Addr, b.Addr) })
	}
	for i := range owners {
		c := &owners[i]
		for _, r := range byPrimary[c.Primary.ID] {
			named := func(n router.Node) bool { return n.ID == r.ID || n.Addr == r.Addr }
			if !slices.ContainsFunc(c.Replicas, named) && !named(c.Primary) {
				c.Replicas = append(c.Replicas, r)
			}
		}
	}
}

// addressing returns how the servers' CLUSTER SLOTS names a node, in the words of CLUSTER NODES: by
// its IP, by its hostname, or as being at the host where we reached whom we asked
// (cluster-preferred-endpoint-type). It must be so for every node that both name. It is nil if
// nothing is: then a proxy or a provider gives other addresses, and to guess one could lead to
// another server.
func addressing(owners []SlotOwner, listed []clusterNode, reached string) func(clusterNode) (string, bool) {
	addrs := make(map[string]string)
	for _, c := range owners {
		addrs[c.Primary.ID] = c.Primary.Addr
		for _, r := range c.Replicas {
			addrs[r.ID] = r.Addr
		}
	}
	forms := []func(clusterNode) string{
		func(m clusterNode) string { return m.ip },
		func(m clusterNode) string { return cmp.Or(m.hostname, m.ip) },
		func(clusterNode) string { return "" },
	}
	for _, host := range forms {
		address := func(m clusterNode) (string, bool) {
			if port, err := strconv.ParseUint(m.port, 10, 16); err != nil || port == 0 {
				return "", false
			}
			return conn.CompleteAddr(net.JoinHostPort(host(m), m.port), reached)
		}
		both := 0
		fits := !slices.ContainsFunc(listed, func(m clusterNode) bool {
			addr, named := addrs[m.id]
			if !named {
				return false
			}
			both++
			own, ok := address(m)
			return !ok || own != addr
		})
		if fits && both > 0 {
			return address
		}
	}
	return nil
}
