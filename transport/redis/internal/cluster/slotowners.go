package cluster

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// SlotOwner is one line of a node's view: who serves a range of slots, as of which configuration
// epoch.
type SlotOwner struct {
	Slots    router.SlotRange
	Epoch    uint64
	Primary  router.Node
	Replicas []router.Node
	heardAt  time.Time // when we were told
}

// NodeView is what one node believes.
type NodeView struct {
	Addr    string // its address
	Owners  []SlotOwner
	failing bool // it says that it is cut off, or that the cluster is not whole; false if it was not asked
}

// heardAt notes when the view was heard.
func (v NodeView) heardAt(now time.Time) NodeView {
	for i := range v.Owners {
		v.Owners[i].heardAt = now
	}
	return v
}

func (v NodeView) equal(o NodeView) bool {
	return v.Addr == o.Addr && slices.EqualFunc(v.Owners, o.Owners, func(a, b SlotOwner) bool {
		return a.Slots == b.Slots && a.Epoch == b.Epoch && a.Primary == b.Primary && slices.Equal(a.Replicas, b.Replicas)
	})
}

// parseSlotOwners reads the reply to CLUSTER SLOTS of the node at addr. Lines that name nobody
// reachable are left out.
func parseSlotOwners(reply []rueidis.RedisMessage, addr string) ([]SlotOwner, error) {
	owners := make([]SlotOwner, 0, len(reply))
	for _, line := range reply {
		words, err := line.ToArray()
		if err != nil || len(words) < 3 {
			return nil, fmt.Errorf("CLUSTER SLOTS: a line of %d words: %v", len(words), err)
		}
		from, err := words[0].AsInt64()
		if err != nil {
			return nil, fmt.Errorf("CLUSTER SLOTS: %w", err)
		}
		to, err := words[1].AsInt64()
		if err != nil {
			return nil, fmt.Errorf("CLUSTER SLOTS: %w", err)
		}
		c := SlotOwner{Slots: router.SlotRange{From: int(from), To: int(to)}}
		for i, word := range words[2:] {
			node, ok := parseNode(word, addr)
			switch {
			case i == 0 && !ok:
				c.Primary = router.Node{}
			case i == 0:
				c.Primary = node
			case ok:
				c.Replicas = append(c.Replicas, node)
			}
		}
		if c.Primary != (router.Node{}) {
			owners = append(owners, c)
		}
	}
	return owners, nil
}

// parseNode reads [endpoint, port, ID, metadata]. A null or empty endpoint means the host the node
// was reached at. "?" is a node that shall be named by its hostname and has none: its IP is in the
// metadata.
func parseNode(word rueidis.RedisMessage, reached string) (router.Node, bool) {
	parts, err := word.ToArray()
	if err != nil || len(parts) < 3 {
		return router.Node{}, false
	}
	host, err := parts[0].ToString()
	if err != nil && !parts[0].IsNil() {
		return router.Node{}, false
	}
	if host == conn.UnknownHost {
		if host = announcedIP(parts[3:]); host == "" {
			return router.Node{}, false
		}
	}
	port, err := parts[1].AsInt64()
	if err != nil || port <= 0 || port > 65535 {
		return router.Node{}, false
	}
	addr, ok := conn.CompleteAddr(net.JoinHostPort(host, strconv.FormatInt(port, 10)), reached)
	if !ok {
		return router.Node{}, false
	}
	id, err := parts[2].ToString()
	if err != nil {
		return router.Node{}, false
	}
	return router.Node{Addr: addr, ID: id}, true
}

// announcedIP finds the IP in a node's metadata: a list of keys and values, or a map.
func announcedIP(metadata []rueidis.RedisMessage) string {
	if len(metadata) == 0 {
		return ""
	}
	known, err := metadata[0].AsStrMap()
	if err != nil {
		return ""
	}
	return known["ip"]
}

// ownerTable are the winning owners of all slots; nil where there is none.
type ownerTable [router.Slots]*SlotOwner

func (s *ownerTable) empty() bool {
	for _, c := range s {
		if c != nil {
			return false
		}
	}
	return true
}

// viewMemory is what was settled last.
type viewMemory struct {
	last      *ownerTable
	keptNewer bool // of what was newer than what anybody says now: a node that speaks again may end that
}

// merge settles views, by the rule by which the nodes settle their own differences: of two that
// owner a slot the one with the higher configuration epoch has it. So the newest news wins whoever
// brings it, and a node that was cut off and replaced is not believed, be it the only one we reach:
// what was newer is remembered until the node that has it says otherwise.
func (m *viewMemory) merge(views []NodeView) *ownerTable {
	now := electOwners(views)
	m.keptNewer = false
	if m.last != nil {
		spoke := make(map[string]time.Time, len(views))
		for _, v := range views {
			if len(v.Owners) > 0 {
				spoke[v.Addr] = v.Owners[0].heardAt
			}
		}
		for slot, was := range m.last {
			if is := now[slot]; was != nil && is != nil && is.Epoch < was.Epoch && !spoke[was.Primary.Addr].After(was.heardAt) {
				now[slot], m.keptNewer = was, true
			}
		}
	}
	m.last = now
	return now
}

// MergeViews makes one topology out of several nodes' views when nothing is remembered.
func MergeViews(views []NodeView) (*router.Snapshot, error) { return electOwners(views).snapshot() }

// snapshot makes a topology of what was settled.
func (s *ownerTable) snapshot() (*router.Snapshot, error) {
	type group struct {
		shard router.Shard
		best  *SlotOwner
	}
	groups := make(map[string]*group)
	var order []*group
	for slot, w := range s {
		if w == nil {
			continue
		}
		g := groups[w.Primary.Addr]
		if g == nil {
			g = &group{shard: router.Shard{Primary: w.Primary}, best: w}
			groups[w.Primary.Addr] = g
			order = append(order, g)
		}
		if last := len(g.shard.Slots) - 1; last >= 0 && g.shard.Slots[last].To == slot-1 {
			g.shard.Slots[last].To = slot
		} else {
			g.shard.Slots = append(g.shard.Slots, router.SlotRange{From: slot, To: slot})
		}
	}
	// A node has one place: primaries first, then replicas where the newest owner has them.
	slices.SortStableFunc(order, func(a, b *group) int { return -cmp.Compare(a.best.Epoch, b.best.Epoch) })
	taken := make(map[string]bool, 2*len(groups)) // by address and by ID
	for addr, g := range groups {
		taken[addr], taken[g.shard.Primary.ID] = true, true
	}
	shards := make([]router.Shard, len(order))
	for i, g := range order {
		for _, r := range g.best.Replicas {
			if !taken[r.Addr] && (r.ID == "" || !taken[r.ID]) {
				taken[r.Addr], taken[r.ID] = true, true
				g.shard.Replicas = append(g.shard.Replicas, r)
			}
		}
		shards[i] = g.shard
	}
	return router.NewSnapshot(shards)
}

// electOwners returns the winning owner of each slot.
func electOwners(views []NodeView) *ownerTable {
	winners := new(ownerTable)
	answering := answeringNodes(views)
	for v := range views {
		for i := range views[v].Owners {
			c := &views[v].Owners[i]
			for slot := max(0, c.Slots.From); slot <= min(c.Slots.To, router.Slots-1); slot++ {
				w := winners[slot]
				switch {
				case w == nil || c.Epoch > w.Epoch:
					winners[slot] = c
				case c.Epoch < w.Epoch || c.Primary.Addr == w.Primary.Addr:
				case outranks(c, w, slot, views, answering):
					winners[slot] = c
				}
			}
		}
	}
	return winners
}

// outranks reports whether c beats w, whose epoch is the same. Two names of one node: the one at
// which it answers. Else more voices win, then the lower address: two nodes of one epoch settle
// that within moments.
func outranks(c, w *SlotOwner, slot int, views []NodeView, answering map[string]bool) bool {
	if c.Primary.ID != "" && c.Primary.ID == w.Primary.ID {
		if a, b := answering[c.Primary.Addr], answering[w.Primary.Addr]; a != b {
			return a
		}
	}
	order := cmp.Or(cmp.Compare(votes(views, slot, w), votes(views, slot, c)), cmp.Compare(c.Primary.Addr, w.Primary.Addr))
	return order < 0
}

// answeringNodes returns the addresses whose nodes gave the views.
func answeringNodes(views []NodeView) map[string]bool {
	from := make(map[string]bool, len(views))
	for _, v := range views {
		from[v.Addr] = true
	}
	return from
}

// votes counts the views that give a slot to the owner's primary.
func votes(views []NodeView, slot int, c *SlotOwner) (n int) {
	for _, v := range views {
		for _, other := range v.Owners {
			if slot >= other.Slots.From && slot <= other.Slots.To {
				if other.Primary.Addr == c.Primary.Addr {
					n++
				}
				break
			}
		}
	}
	return n
}
