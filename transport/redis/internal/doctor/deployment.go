package doctor

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
)

// inspectionRules judge the deployment as a whole.
var inspectionRules = []func(*inspection) []Finding{
	ruleVersions, ruleCluster, ruleCoverage, ruleViews, ruleFailing, ruleMigrations, ruleShards, ruleStandaloneRoles, ruleHandOver, ruleClocks, ruleSentinels, ruleSentinelViews,
}

// kind returns what the servers are; empty if none answered.
func (s *inspection) kind() string {
	switch {
	case s.cfg.Cluster.Sentinels != nil:
		return "sentinel"
	case slices.ContainsFunc(s.nodes, func(n *nodeFacts) bool { return n.info["cluster_enabled"] == "1" }):
		return "cluster"
	case slices.ContainsFunc(s.nodes, func(n *nodeFacts) bool { return n.err == nil }):
		return "standalone"
	}
	return ""
}

// topology returns what the nodes' views make together; nil if there is nothing.
func (s *inspection) topology() *router.Snapshot {
	var views []cluster.NodeView
	for _, n := range s.nodes {
		if n.view != nil && len(n.view.Owners) > 0 {
			views = append(views, *n.view)
		}
	}
	if len(views) == 0 {
		return nil
	}
	snapshot, err := cluster.MergeViews(views)
	if err != nil {
		return nil
	}
	return snapshot
}

// all returns the addresses of the nodes for which cond is true, joined.
func (s *inspection) all(cond func(*nodeFacts) bool) string {
	var addrs []string
	for _, n := range s.nodes {
		if n.err == nil && cond(n) {
			addrs = append(addrs, n.addr)
		}
	}
	slices.Sort(addrs)
	return strings.Join(addrs, ", ")
}

// runs returns what a server runs, as "Redis 7.2.4"; empty if it does not say. Every Valkey says
// that its redis_version is 7.2.4.
func (n *nodeFacts) runs() string {
	if v := n.info["valkey_version"]; v != "" {
		return "Valkey " + v
	}
	if v := n.info["redis_version"]; v != "" {
		return "Redis " + v
	}
	return ""
}

func ruleVersions(s *inspection) []Finding {
	versions := make(map[string][]string)
	for _, n := range s.nodes {
		if v := n.runs(); v != "" {
			versions[v] = append(versions[v], n.addr)
		}
	}
	if len(versions) < 2 {
		return nil
	}
	return oneFinding(Note, "", "version", fmt.Sprintf("several run: %v", versions),
		"what happens at a fail-over depends on who takes over", "finish the upgrade")
}

func ruleHandOver(s *inspection) []Finding {
	who := s.all(func(n *nodeFacts) bool {
		var v [3]int
		if _, err := fmt.Sscanf(n.info["redis_version"], "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
			return false
		}
		return n.view != nil && slices.Compare(v[:], droppingVersion[:]) >= 0
	})
	if who == "" {
		return nil
	}
	return oneFinding(Note, "", "hand-over", "7.2.2 and later: "+who,
		"whoever takes over a slot starts without subscribers, also a promoted replica: each hand-over has a hole of a round trip, which is a gap, or repaired", "nothing: subscribers subscribe again at once")
}

func ruleCluster(s *inspection) []Finding {
	who := s.all(func(n *nodeFacts) bool { return n.state["cluster_state"] == "fail" })
	if who == "" {
		return nil
	}
	return oneFinding(Error, "", "cluster", "cluster_state is fail at "+who,
		"keys are refused (CLUSTERDOWN), and events too unless cluster-allow-pubsubshard-when-down is yes", "bring the missing primaries back, or give their slots to others (redis-cli --cluster fix)")
}

func ruleCoverage(s *inspection) []Finding {
	snapshot := s.topology()
	if s.kind() != "cluster" {
		return nil
	}
	holes := snapshot.Holes()
	if len(holes) == 0 {
		return nil
	}
	return oneFinding(Error, "", "coverage", fmt.Sprintf("nobody owns %d of %d slots: %v", router.Slots-snapshot.Covered(), router.Slots, holes),
		"topics on these slots can be neither published to nor subscribed to; Publish waits for an owner", "CLUSTER ADDSLOTSRANGE at a primary, or redis-cli --cluster fix")
}

func ruleViews(s *inspection) (findings []Finding) {
	settled := s.topology()
	if settled == nil {
		return nil
	}
	for _, n := range s.nodes {
		if n.view == nil {
			continue
		}
		own, err := cluster.MergeViews([]cluster.NodeView{*n.view})
		if err != nil {
			continue
		}
		if slots := router.Diff(settled, own).Slots; len(slots) > 0 {
			findings = append(findings, oneFinding(Warning, n.addr, "views", fmt.Sprintf("it has other owners than the newest view for %d ranges of slots, as %v", len(slots), slots[0].Slots),
				"it is behind, or cut off from the others: what is published there may reach nobody", "check again in a moment; if it stays so, see CLUSTER NODES there, and the cluster bus port between the nodes")...)
		}
	}
	return findings
}

func ruleFailing(s *inspection) []Finding {
	failing := make(map[string]bool)
	for _, n := range s.nodes {
		for line := range strings.Lines(n.nodesText) {
			w := strings.Fields(line)
			if len(w) < 3 {
				continue
			}
			for flag := range strings.SplitSeq(w[2], ",") {
				if flag == "fail" || flag == "fail?" || flag == "noaddr" || flag == "handshake" {
					name, _, _ := strings.Cut(cmp.Or(w[1], w[0]), "@")
					failing[name+" ("+flag+")"] = true
				}
			}
		}
	}
	if len(failing) == 0 {
		return nil
	}
	names := make([]string, 0, len(failing))
	for name := range failing {
		names = append(names, name)
	}
	slices.Sort(names)
	return oneFinding(Warning, "", "members", "nodes that others miss: "+strings.Join(names, ", "),
		"a shard has lost its primary or a replica", "bring them back; those that are gone for good: CLUSTER FORGET at every node")
}

func ruleMigrations(s *inspection) []Finding {
	who := s.all(func(n *nodeFacts) bool {
		return strings.Contains(n.nodesText, "->-") || strings.Contains(n.nodesText, "-<-")
	})
	if who == "" {
		return nil
	}
	return oneFinding(Note, "", "migration", "slots are on their way at "+who,
		"nothing: until it has moved, a slot's events are at its old owner", "if nobody moves slots now, it was left half-way: redis-cli --cluster fix")
}

// majorityOf is how few primaries can elect a successor of one of them.
const majorityOf = 3

func ruleShards(s *inspection) (findings []Finding) {
	snapshot := s.topology()
	if snapshot == nil {
		return nil
	}
	primaries := 0
	for _, shard := range snapshot.Shards() {
		if len(shard.Slots) == 0 {
			continue
		}
		primaries++
		if len(shard.Replicas) == 0 {
			findings = append(findings, oneFinding(Warning, shard.Primary.Addr, "replicas", "this primary has none",
				"when it dies, its topics stand still until it is back, and the cluster may stop as a whole (cluster-require-full-coverage)", "redis-cli --cluster add-node … --cluster-slave")...)
			continue
		}
		host, _, _ := net.SplitHostPort(shard.Primary.Addr)
		ip := net.ParseIP(host)
		apart := slices.ContainsFunc(shard.Replicas, func(r router.Node) bool {
			other, _, _ := net.SplitHostPort(r.Addr)
			return other != host
		})
		if !apart && (ip == nil || !ip.IsLoopback()) {
			findings = append(findings, oneFinding(Warning, shard.Primary.Addr, "replicas", "all of its replicas are on the same host",
				"when the host dies, so does the shard", "put a replica elsewhere")...)
		}
	}
	if primaries < majorityOf {
		findings = append(findings, oneFinding(Warning, "", "replicas", fmt.Sprintf("%d primaries", primaries),
			"the others have no majority, so a primary that dies is never replaced", "spread the slots over 3 primaries at least")...)
	}
	return findings
}

// ruleStandaloneRoles judges addresses without a cluster and without sentinels. Nobody else tells
// us which of them is the primary, and what is published at one server reaches nobody at another.
func ruleStandaloneRoles(s *inspection) (findings []Finding) {
	if s.kind() != "standalone" {
		return nil
	}
	primaries := s.all((*nodeFacts).isPrimary)
	for _, n := range s.nodes {
		if n.err != nil || n.info["role"] != "slave" {
			continue
		}
		of := ""
		if n.info["master_host"] != "" {
			of = ", of " + net.JoinHostPort(n.info["master_host"], n.info["master_port"])
		}
		if primaries == "" {
			findings = append(findings, oneFinding(Error, n.addr, "role", "it is a replica"+of+", and no primary is among the addresses",
				"what is published at a replica reaches nobody at the primary", "name the primary in Config.Addrs; or use Config.Sentinel, which finds it after a fail-over, too")...)
			continue
		}
		findings = append(findings, oneFinding(Warning, n.addr, "role", "it is a replica"+of,
			"it serves nothing until somebody makes it the primary, and then it is used; with several addresses and no sentinels nobody says which server is the primary while a fail-over goes on",
			"nothing, if roles are changed by hand; else use Config.Sentinel")...)
	}
	if strings.Contains(primaries, ", ") {
		findings = append(findings, oneFinding(Error, "", "role", "several of the addresses are primaries, and no cluster: "+primaries,
			"each process takes the first that answers it, and what is published at one reaches nobody at the others", "name one server only, at all its addresses; or make them a cluster")...)
	}
	return findings
}

// skewed is by how much clocks may differ before it is told.
const skewed = time.Second

// known rounds a duration that may be wrong by err to the digits that are known.
func known(d, err time.Duration) time.Duration {
	for digit := time.Millisecond; digit <= time.Minute; digit *= 10 {
		if 2*err < digit {
			return d.Round(digit)
		}
	}
	return d.Round(time.Minute)
}

func ruleClocks(s *inspection) (findings []Finding) {
	var first, last *nodeFacts
	for _, n := range s.nodes {
		if !n.clockSeen {
			continue
		}
		if off := n.clock.Abs() - n.clockErr; off >= skewed {
			findings = append(findings, oneFinding(Note, n.addr, "clocks", fmt.Sprintf("its clock is %v from ours", known(n.clock, n.clockErr)),
				"nothing that a transport does depends on it; an event's time is that of its publisher's clock, and what the server logs does not compare with ours", "run NTP on both")...)
		}
		if first == nil || n.clock < first.clock {
			first = n
		}
		if last == nil || n.clock > last.clock {
			last = n
		}
	}
	if first != nil && last.clock-first.clock-last.clockErr-first.clockErr >= skewed {
		findings = append(findings, oneFinding(Note, "", "clocks", fmt.Sprintf("the clock of %s is %v ahead of that of %s", last.addr, known(last.clock-first.clock, last.clockErr+first.clockErr), first.addr),
			"nothing that a transport does depends on it; what the servers log does not compare", "run NTP on all nodes")...)
	}
	return findings
}
