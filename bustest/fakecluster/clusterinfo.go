package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/router"
)

// clusterCommand answers CLUSTER, from the view of this node.
func (cl *client) clusterCommand(args []string) {
	if cl.noCluster() {
		return
	}
	c, n, sub := cl.cluster, cl.node, ""
	if len(args) > 1 {
		sub = strings.ToUpper(args[1])
	}
	if sub == "COUNTKEYSINSLOT" && len(args) == 3 {
		cl.countKeys(args[2])
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case sub == "SLOTS" && len(args) == 2:
		n.slotsLocked(&cl.reply)
	case sub == "SHARDS" && len(args) == 2:
		n.shardsLocked(&cl.reply)
	case sub == "NODES" && len(args) == 2:
		cl.reply.bulk(n.nodesLocked())
	case sub == "INFO" && len(args) == 2:
		cl.reply.bulk(n.clusterInfoLocked())
	case sub == "MYID" && len(args) == 2:
		cl.reply.bulk(n.id)
	case sub == "MYSHARDID" && len(args) == 2 && !c.version.before(version{7, 2, 0}):
		if s, _ := n.view.home(n); s != nil {
			cl.reply.bulk(s.id)
			return
		}
		cl.unmodelled(args)
	case sub == "KEYSLOT" && len(args) == 3:
		cl.reply.int(router.Slot(args[2]))
	default:
		cl.unmodelled(args)
	}
}

// countKeys answers COUNTKEYSINSLOT for what is at this node.
func (cl *client) countKeys(text string) {
	slot, err := strconv.Atoi(text)
	if err != nil || slot < 0 || slot >= router.Slots {
		cl.fail("ERR Invalid slot")
		return
	}
	c := cl.cluster
	keys := c.backend.Keys()
	p := cl.place(slot)
	count := 0
	for _, key := range keys {
		if router.Slot(key) != slot {
			continue
		}
		moved := p.migration != nil && c.hasMoved(p.migration, key)
		if p.importing && moved || p.member && !moved {
			count++
		}
	}
	cl.reply.int(count)
}

// slotsLocked is the reply to CLUSTER SLOTS. Replicas that have failed are left out; a failed primary is not.
func (n *Node) slotsLocked(r *reply) {
	r.array(len(n.view.runs))
	for _, slots := range n.view.runs {
		s := &n.view.shards[slots.shard]
		nodes := slices.DeleteFunc(s.members(), func(m *Node) bool { return m != s.primary && n.cluster.failedLocked(m) })
		r.array(2 + len(nodes))
		r.int(slots.From)
		r.int(slots.To)
		for _, m := range nodes {
			host, port := m.hostPort()
			r.array(4)
			r.bulk(host)
			number, _ := strconv.Atoi(port) // ours: a number
			r.int(number)
			r.bulk(m.id)
			r.array(0)
		}
	}
}

// shardsLocked is the reply to CLUSTER SHARDS.
func (n *Node) shardsLocked(r *reply) {
	r.array(len(n.view.shards))
	for i := range n.view.shards {
		s := &n.view.shards[i]
		r.object(2)
		r.bulk("slots")
		ranges := n.view.ranges[i]
		r.array(2 * len(ranges))
		for _, slots := range ranges {
			r.int(slots.From)
			r.int(slots.To)
		}
		r.bulk("nodes")
		nodes := append(s.members(), s.lost...)
		r.array(len(nodes))
		for _, m := range nodes {
			role, health := "replica", "online"
			if m == s.primary || slices.Contains(s.lost, m) {
				role = "master"
			}
			if n.cluster.failedLocked(m) {
				health = "fail"
			}
			host, port := m.hostPort()
			number, _ := strconv.Atoi(port) // ours: a number
			r.object(7)
			r.bulk("id")
			r.bulk(m.id)
			r.bulk("port")
			r.int(number)
			r.bulk("ip")
			r.bulk(host)
			r.bulk("endpoint")
			r.bulk(host)
			r.bulk("role")
			r.bulk(role)
			r.bulk("replication-offset")
			r.int(0)
			r.bulk("health")
			r.bulk(health)
		}
	}
}

// nodesLocked is the text of CLUSTER NODES.
func (n *Node) nodesLocked() string {
	var b strings.Builder
	for i := range n.view.shards {
		s := &n.view.shards[i]
		for _, m := range append(s.members(), s.lost...) {
			flags, primary := "slave", s.primary.id
			if m == s.primary || slices.Contains(s.lost, m) {
				flags, primary = "master", "-"
			}
			link := "connected"
			switch {
			case m == n:
				flags = "myself," + flags
			case n.cluster.failedLocked(m):
				flags, link = flags+",fail", "disconnected"
			case !m.up:
				link = "disconnected"
			}
			_, port := m.hostPort()
			number, _ := strconv.Atoi(port) // ours: a number
			fmt.Fprintf(&b, "%s %s@%d %s %s 0 0 %d %s", m.id, m.addr, number+10000, flags, primary, s.epoch, link)
			if m == s.primary {
				for _, slots := range n.view.ranges[i] {
					b.WriteString(" " + rangeText(slots))
				}
			}
			if m == n {
				b.WriteString(n.migrationsLocked())
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func rangeText(r router.SlotRange) string {
	if r.From == r.To {
		return strconv.Itoa(r.From)
	}
	return fmt.Sprintf("%d-%d", r.From, r.To)
}

// migrationsLocked is what the line of myself tells about slots on their way.
func (n *Node) migrationsLocked() string {
	var texts []string
	for slot, m := range n.cluster.moves {
		switch n {
		case m.from:
			texts = append(texts, fmt.Sprintf(" [%d->-%s]", slot, m.to.id))
		case m.to:
			if m.from != nil {
				texts = append(texts, fmt.Sprintf(" [%d-<-%s]", slot, m.from.id))
			}
		}
	}
	slices.Sort(texts)
	return strings.Join(texts, "")
}

// clusterInfoLocked is the text of CLUSTER INFO, with the fields that the fake knows.
func (n *Node) clusterInfoLocked() string {
	v, state := n.view, "ok"
	if n.downLocked() {
		state = "fail"
	}
	assigned, failing, size, known, mine := 0, 0, 0, 0, uint64(0)
	for i := range v.shards {
		s := &v.shards[i]
		slots := 0
		for _, r := range v.ranges[i] {
			slots += r.Len()
		}
		assigned += slots
		known += 1 + len(s.replicas) + len(s.lost)
		if slots > 0 {
			size++
		}
		if n.cluster.failedLocked(s.primary) && s.primary != n {
			failing += slots
		}
		if s.has(n) {
			mine = s.epoch
		}
	}
	return fmt.Sprintf("cluster_state:%s\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%d\r\ncluster_slots_pfail:0\r\n"+
		"cluster_slots_fail:%d\r\ncluster_known_nodes:%d\r\ncluster_size:%d\r\ncluster_current_epoch:%d\r\ncluster_my_epoch:%d\r\n",
		state, assigned, assigned-failing, failing, known, size, v.epoch, mine)
}
