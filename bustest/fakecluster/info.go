package fakecluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// sections of INFO that the fake has, in order.
var sections = []struct {
	name string
	text func(*Node) string // with mu held
}{
	{"server", func(n *Node) string {
		_, port := n.hostPort()
		return fmt.Sprintf("redis_version:%s\r\nredis_mode:%s\r\nrun_id:%s\r\ntcp_port:%s\r\n", n.cluster.cfg.Version, n.cluster.mode(), n.id, port)
	}},
	{"clients", func(n *Node) string { return fmt.Sprintf("connected_clients:%d\r\n", len(n.clients)) }},
	{"replication", (*Node).replicationLocked},
	{"cluster", func(n *Node) string {
		return fmt.Sprintf("cluster_enabled:%d\r\n", map[bool]int{false: 1, true: 0}[n.cluster.cfg.Standalone])
	}},
}

// info answers INFO with the sections asked for; all that the fake has if none is named.
func (cl *client) info(args []string) {
	wanted := make([]string, 0, len(args))
	for _, arg := range args[1:] {
		name := strings.ToLower(arg)
		known := slices.Contains([]string{"all", "everything", "default"}, name)
		for _, s := range sections {
			known = known || s.name == name
		}
		if !known {
			cl.unmodelled(args)
			return
		}
		wanted = append(wanted, name)
	}
	every := len(wanted) == 0 || hasWord(wanted, "all") || hasWord(wanted, "everything") || hasWord(wanted, "default")
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	var b strings.Builder
	for _, s := range sections {
		if every || slices.Contains(wanted, s.name) {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString("# " + strings.ToUpper(s.name[:1]) + s.name[1:] + "\r\n" + s.text(cl.node))
		}
	}
	cl.reply.bulk(b.String())
}

// replicationLocked is the section of the node's role.
func (n *Node) replicationLocked() string {
	s, _ := n.view.home(n)
	if s == nil || s.primary == n {
		replicas := 0
		if s != nil {
			for _, r := range s.replicas {
				if r.up && !r.isolated && !n.isolated {
					replicas++
				}
			}
		}
		return fmt.Sprintf("role:master\r\nconnected_slaves:%d\r\n", replicas)
	}
	host, port := s.primary.hostPort()
	return fmt.Sprintf("role:slave\r\nmaster_host:%s\r\nmaster_port:%s\r\nmaster_link_status:%s\r\n", host, port, n.linkLocked(s, "up", "down"))
}

// linkLocked is one of two words for whether a replica reaches its primary.
func (n *Node) linkLocked(s *shard, yes, no string) string {
	if p := s.primary; p.up && !p.isolated && !n.isolated {
		return yes
	}
	return no
}

// role answers ROLE. Offsets are 0: nothing is replicated.
func (cl *client) role([]string) {
	c, n, r := cl.cluster, cl.node, &cl.reply
	c.mu.Lock()
	defer c.mu.Unlock()
	s, _ := n.view.home(n)
	if s != nil && s.primary != n {
		host, port := s.primary.hostPort()
		number, _ := strconv.Atoi(port) // ours: a number
		r.array(5)
		r.bulk("slave")
		r.bulk(host)
		r.int(number)
		r.bulk(n.linkLocked(s, "connected", "connect"))
		r.int(0)
		return
	}
	var replicas []*Node
	if s != nil {
		replicas = slices.DeleteFunc(slices.Clone(s.replicas), func(m *Node) bool { return !m.up || m.isolated || n.isolated })
	}
	r.array(3)
	r.bulk("master")
	r.int(0)
	r.array(len(replicas))
	for _, m := range replicas {
		host, port := m.hostPort()
		r.array(3)
		r.bulk(host)
		r.bulk(port)
		r.bulk("0")
	}
}
