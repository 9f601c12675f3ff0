package redis

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
)

// claim is one line of a node's view: who serves a range of slots, as of which configuration epoch.
type claim struct {
	slots    router.SlotRange
	epoch    uint64
	primary  router.Node
	replicas []router.Node
}

// nodeView is what one node believes.
type nodeView struct {
	from   string // its address
	claims []claim
}

func (v nodeView) equal(o nodeView) bool {
	return v.from == o.from && slices.EqualFunc(v.claims, o.claims, func(a, b claim) bool {
		return a.slots == b.slots && a.epoch == b.epoch && a.primary == b.primary && slices.Equal(a.replicas, b.replicas)
	})
}

// parseSlots reads the reply to CLUSTER SLOTS of the node at addr. Lines that name nobody reachable are left out.
func parseSlots(reply []rueidis.RedisMessage, addr string) ([]claim, error) {
	claims := make([]claim, 0, len(reply))
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
		c := claim{slots: router.SlotRange{From: int(from), To: int(to)}}
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

// parseNode reads [endpoint, port, ID, …]. A null endpoint means the one the node was reached at; "?" is unknown.
func parseNode(word rueidis.RedisMessage, reached string) (router.Node, bool) {
	parts, err := word.ToArray()
	if err != nil || len(parts) < 3 {
		return router.Node{}, false
	}
	host, err := parts[0].ToString()
	if err != nil && !parts[0].IsNil() {
		return router.Node{}, false
	}
	port, err := parts[1].AsInt64()
	if err != nil || host == "?" || port <= 0 {
		return router.Node{}, false
	}
	addr, ok := endpoint(net.JoinHostPort(host, strconv.FormatInt(port, 10)), reached)
	if !ok {
		return router.Node{}, false
	}
	id, err := parts[2].ToString()
	if err != nil {
		return router.Node{}, false
	}
	return router.Node{Addr: addr, ID: id}, true
}

// addEpochs takes the nodes' configuration epochs out of the text of CLUSTER NODES.
func addEpochs(claims []claim, nodes string) {
	const id, configEpoch, words = 0, 6, 8
	epochs := make(map[string]uint64)
	for line := range strings.Lines(nodes) {
		if w := strings.Fields(line); len(w) >= words {
			if n, err := strconv.ParseUint(w[configEpoch], 10, 64); err == nil {
				epochs[w[id]] = n
			}
		}
	}
	for i := range claims {
		claims[i].epoch = epochs[claims[i].primary.ID]
	}
}

// settleClaims makes one topology out of several nodes' views, by the rule by which the nodes settle their own
// differences: of two that claim a slot the one with the higher configuration epoch has it. So the newest news wins
// whoever brings it, and a node that was cut off and replaced is not believed. Among equals more voices win, then the
// lower address.
func settleClaims(views []nodeView) (*router.Snapshot, error) {
	winners := contest(views)
	type group struct {
		shard router.Shard
		best  claim
	}
	groups := make(map[string]*group)
	var order []*group
	for slot := 0; slot < router.Slots; slot++ {
		w := winners[slot]
		if w == nil {
			continue
		}
		g := groups[w.primary.Addr]
		if g == nil {
			g = &group{shard: router.Shard{Primary: w.primary}, best: *w}
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
	taken := make(map[string]bool, len(groups))
	for addr := range groups {
		taken[addr] = true
	}
	shards := make([]router.Shard, len(order))
	for i, g := range order {
		for _, r := range g.best.replicas {
			if !taken[r.Addr] {
				taken[r.Addr] = true
				g.shard.Replicas = append(g.shard.Replicas, r)
			}
		}
		shards[i] = g.shard
	}
	return router.NewSnapshot(shards)
}

// contest returns the winning claim of each slot; nil where there is none.
func contest(views []nodeView) *[router.Slots]*claim {
	winners := new([router.Slots]*claim)
	var votes [router.Slots]int
	for v := range views {
		for i := range views[v].claims {
			c := &views[v].claims[i]
			for slot := max(0, c.slots.From); slot <= min(c.slots.To, router.Slots-1); slot++ {
				w := winners[slot]
				switch {
				case w == nil || c.epoch > w.epoch:
					winners[slot], votes[slot] = c, 1
				case c.epoch < w.epoch:
				case c.primary.Addr == w.primary.Addr:
					votes[slot]++
				default:
					// Equal epochs of two nodes: the server resolves that within moments.
					theirs := 0
					for _, other := range views {
						if claimant(other, slot) == c.primary.Addr {
							theirs++
						}
					}
					if theirs > votes[slot] || theirs == votes[slot] && c.primary.Addr < w.primary.Addr {
						winners[slot], votes[slot] = c, theirs
					}
				}
			}
		}
	}
	return winners
}

func claimant(v nodeView, slot int) string {
	for _, c := range v.claims {
		if slot >= c.slots.From && slot <= c.slots.To {
			return c.primary.Addr
		}
	}
	return ""
}
