package redis

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

// slotOwner is one line of a node's view: who serves a range of slots, as of which configuration epoch.
type slotOwner struct {
	slots    router.SlotRange
	epoch    uint64
	primary  router.Node
	replicas []router.Node
	heardAt  time.Time // when we were told
}

// nodeView is what one node believes.
type nodeView struct {
	addr    string // its address
	owners  []slotOwner
	failing bool // it says that it is cut off, or that the cluster is not whole; false if it was not asked
}

// heardAt notes when the view was heard.
func (v nodeView) heardAt(now time.Time) nodeView {
	for i := range v.owners {
		v.owners[i].heardAt = now
	}
	return v
}

func (v nodeView) equal(o nodeView) bool {
	return v.addr == o.addr && slices.EqualFunc(v.owners, o.owners, func(a, b slotOwner) bool {
		return a.slots == b.slots && a.epoch == b.epoch && a.primary == b.primary && slices.Equal(a.replicas, b.replicas)
	})
}

// parseSlotOwners reads the reply to CLUSTER SLOTS of the node at addr. Lines that name nobody reachable are left out.
func parseSlotOwners(reply []rueidis.RedisMessage, addr string) ([]slotOwner, error) {
	claims := make([]slotOwner, 0, len(reply))
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
		c := slotOwner{slots: router.SlotRange{From: int(from), To: int(to)}}
		for i, word := range words[2:] {
			node, ok := parseNode(word, addr)
			switch {
			case i == 0 && !ok:
				c.primary = router.Node{}
			case i == 0:
				c.primary = node
			case ok:
				c.replicas = append(c.replicas, node)
			}
		}
		if c.primary != (router.Node{}) {
			claims = append(claims, c)
		}
	}
	return claims, nil
}

// parseNode reads [endpoint, port, ID, metadata]. A null or empty endpoint means the host the node was reached at. "?" is
// a node that shall be named by its hostname and has none: its IP is in the metadata.
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

// ownerTable are the winning claims of all slots; nil where there is none.
type ownerTable [router.Slots]*slotOwner

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

// merge settles views, by the rule by which the nodes settle their own differences: of two that claim a slot the one
// with the higher configuration epoch has it. So the newest news wins whoever brings it, and a node that was cut off
// and replaced is not believed, be it the only one we reach: what was newer is remembered until the node that has it
// says otherwise.
func (m *viewMemory) merge(views []nodeView) *ownerTable {
	now := electOwners(views)
	m.keptNewer = false
	if m.last != nil {
		spoke := make(map[string]time.Time, len(views))
		for _, v := range views {
			if len(v.owners) > 0 {
				spoke[v.addr] = v.owners[0].heardAt
			}
		}
		for slot, was := range m.last {
			if is := now[slot]; was != nil && is != nil && is.epoch < was.epoch && !spoke[was.primary.Addr].After(was.heardAt) {
				now[slot], m.keptNewer = was, true
			}
		}
	}
	m.last = now
	return now
}

// mergeViews makes one topology out of several nodes' views when nothing is remembered.
func mergeViews(views []nodeView) (*router.Snapshot, error) { return electOwners(views).snapshot() }

// snapshot makes a topology of what was settled.
func (s *ownerTable) snapshot() (*router.Snapshot, error) {
	type group struct {
		shard router.Shard
		best  *slotOwner
	}
	groups := make(map[string]*group)
	var order []*group
	for slot, w := range s {
		if w == nil {
			continue
		}
		g := groups[w.primary.Addr]
		if g == nil {
			g = &group{shard: router.Shard{Primary: w.primary}, best: w}
			groups[w.primary.Addr] = g
			order = append(order, g)
		}
		if last := len(g.shard.Slots) - 1; last >= 0 && g.shard.Slots[last].To == slot-1 {
			g.shard.Slots[last].To = slot
		} else {
			g.shard.Slots = append(g.shard.Slots, router.SlotRange{From: slot, To: slot})
		}
	}
	// A node has one place: primaries first, then replicas where the newest claim has them.
	slices.SortStableFunc(order, func(a, b *group) int { return -cmp.Compare(a.best.epoch, b.best.epoch) })
	taken := make(map[string]bool, 2*len(groups)) // by address and by ID
	for addr, g := range groups {
		taken[addr], taken[g.shard.Primary.ID] = true, true
	}
	shards := make([]router.Shard, len(order))
	for i, g := range order {
		for _, r := range g.best.replicas {
			if !taken[r.Addr] && (r.ID == "" || !taken[r.ID]) {
				taken[r.Addr], taken[r.ID] = true, true
				g.shard.Replicas = append(g.shard.Replicas, r)
			}
		}
		shards[i] = g.shard
	}
	return router.NewSnapshot(shards)
}

// electOwners returns the winning claim of each slot.
func electOwners(views []nodeView) *ownerTable {
	winners := new(ownerTable)
	answering := answeringNodes(views)
	for v := range views {
		for i := range views[v].owners {
			c := &views[v].owners[i]
			for slot := max(0, c.slots.From); slot <= min(c.slots.To, router.Slots-1); slot++ {
				w := winners[slot]
				switch {
				case w == nil || c.epoch > w.epoch:
					winners[slot] = c
				case c.epoch < w.epoch || c.primary.Addr == w.primary.Addr:
				case outranks(c, w, slot, views, answering):
					winners[slot] = c
				}
			}
		}
	}
	return winners
}

// outranks reports whether c beats w, whose epoch is the same. Two names of one node: the one at which it answers. Else
// more voices win, then the lower address: two nodes of one epoch settle that within moments.
func outranks(c, w *slotOwner, slot int, views []nodeView, answering map[string]bool) bool {
	if c.primary.ID != "" && c.primary.ID == w.primary.ID {
		if a, b := answering[c.primary.Addr], answering[w.primary.Addr]; a != b {
			return a
		}
	}
	order := cmp.Or(cmp.Compare(votes(views, slot, w), votes(views, slot, c)), cmp.Compare(c.primary.Addr, w.primary.Addr))
	return order < 0
}

// answeringNodes returns the addresses whose nodes gave the views.
func answeringNodes(views []nodeView) map[string]bool {
	from := make(map[string]bool, len(views))
	for _, v := range views {
		from[v.addr] = true
	}
	return from
}

// votes counts the views that give a slot to the claim's primary.
func votes(views []nodeView, slot int, c *slotOwner) (n int) {
	for _, v := range views {
		for _, other := range v.owners {
			if slot >= other.slots.From && slot <= other.slots.To {
				if other.primary.Addr == c.primary.Addr {
					n++
				}
				break
			}
		}
	}
	return n
}
