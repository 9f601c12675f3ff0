package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// SentinelView is what one sentinel says.
type SentinelView struct {
	ID       string // its own; its address if it does not tell
	Primary  string // the primary's address
	Epoch    uint64 // as of which configuration epoch
	Replicas []string
	Others   map[string]string // the other sentinels that it knows of: address by ID

	// What only Check looks at.

	Complete          bool     // it tells all: who it is, and whom it knows
	Down              bool     // it takes the primary to be down
	Unreachable       []string // of others: the addresses of those that it cannot reach
	Quorum, DownAfter string   // its settings
}

// SentinelPrimary is a primary that sentinels name.
type SentinelPrimary struct {
	Addr     string
	epoch    uint64 // the highest with which it is named
	votes    int
	Replicas []string // as the sentinel of that epoch has them
}

// Candidates returns who may be the primary, most believable first. Sentinels settle their
// differences by epochs: each fail-over has a higher one, for which a majority voted. So the newest
// news wins whoever brings it, then what more of them say. What is older than what we know is
// believed of a majority only (they were set up anew), and so is another address of the same age: a
// sentinel that was cut off convinces nobody.
func Candidates(views []SentinelView, held SentinelPrimary) []SentinelPrimary {
	known := make(map[string]bool)
	byAddr := make(map[string]*SentinelPrimary)
	voted := make(map[string]bool)
	for _, v := range views {
		known[v.ID] = true
		for id := range v.Others {
			known[id] = true
		}
		if voted[v.ID] {
			continue // it has two addresses
		}
		voted[v.ID] = true
		c := byAddr[v.Primary]
		if c == nil {
			c = &SentinelPrimary{Addr: v.Primary}
			byAddr[v.Primary] = c
		}
		c.votes++
		if c.votes == 1 || v.Epoch > c.epoch || v.Epoch == c.epoch && len(c.Replicas) == 0 { // it may not have been told
			c.epoch, c.Replicas = v.Epoch, v.Replicas
		}
	}
	list := make([]SentinelPrimary, 0, len(byAddr))
	for _, c := range byAddr {
		if held.Addr == "" || c.Addr == held.Addr || c.epoch > held.epoch || 2*c.votes > len(known) {
			list = append(list, *c)
		}
	}
	slices.SortFunc(list, func(a, b SentinelPrimary) int {
		return cmp.Or(-cmp.Compare(a.epoch, b.epoch), -cmp.Compare(a.votes, b.votes), cmp.Compare(a.Addr, b.Addr))
	})
	return list
}

// snapshot is the topology with the candidate as primary.
func (c SentinelPrimary) snapshot() (*router.Snapshot, error) {
	shard := router.Shard{
		Primary: router.Node{Addr: c.Addr},
		Slots:   []router.SlotRange{{From: 0, To: router.Slots - 1}},
	}
	for _, addr := range c.Replicas {
		if node := (router.Node{Addr: addr}); addr != c.Addr && !slices.Contains(shard.Replicas, node) {
			shard.Replicas = append(shard.Replicas, node)
		}
	}
	return router.NewSnapshot([]router.Shard{shard})
}

// FetchSentinelView asks one sentinel about a primary. All commands are one pipeline. What it may
// not tell but the first two is left out.
func FetchSentinelView(ctx context.Context, client rueidis.CoreClient, addr, primary string) (SentinelView, error) {
	ask := func(words ...string) rueidis.Completed {
		return client.B().Arbitrary("SENTINEL").Args(words...).Build()
	}
	replies := client.DoMulti(ctx,
		ask("GET-MASTER-ADDR-BY-NAME", primary), ask("MASTER", primary),
		ask("MYID"), ask("SENTINELS", primary), ask("REPLICAS", primary))
	view := SentinelView{ID: addr, Others: make(map[string]string)}
	at, err := replies[0].AsStrSlice()
	switch {
	case rueidis.IsRedisNil(err) || err == nil && len(at) < 2:
		return view, fmt.Errorf("%w: the sentinel at %s watches none named %q: see SENTINEL MASTERS, and Config.Sentinel.Primary", conn.ErrNoPrimary, addr, primary)
	case err != nil:
		return view, err
	}
	if view.Primary = hostPort(at[0], at[1]); view.Primary == "" {
		return view, fmt.Errorf("the sentinel at %s names the address %q", addr, at)
	}
	known, err := replies[1].AsStrMap()
	if err != nil {
		return view, err
	}
	if view.Epoch, err = strconv.ParseUint(known["config-epoch"], 10, 64); err != nil {
		return view, fmt.Errorf("the sentinel at %s: config-epoch: %w", addr, err)
	}
	view.Down = strings.Contains(known["flags"], "_down") // s_down, o_down
	view.Quorum, view.DownAfter = known["quorum"], known["down-after-milliseconds"]
	view.Complete = replies[2].Error() == nil && replies[3].Error() == nil && replies[4].Error() == nil
	if id, err := replies[2].ToString(); err == nil && id != "" {
		view.ID = id
	}
	for _, s := range listOf(replies[3]) {
		if other := hostPort(s["ip"], s["port"]); other != "" {
			view.Others[cmp.Or(s["runid"], other)] = other
			if strings.Contains(s["flags"], "_down") {
				view.Unreachable = append(view.Unreachable, other)
			}
		}
	}
	for _, r := range listOf(replies[4]) {
		// One that is down stays listed for ever.
		if node := hostPort(r["ip"], r["port"]); node != "" && !strings.Contains(r["flags"], "s_down") {
			view.Replicas = append(view.Replicas, node)
		}
	}
	slices.Sort(view.Replicas)
	slices.Sort(view.Unreachable)
	return view, nil
}

// listOf reads a list of descriptions; nil if it is none.
func listOf(reply rueidis.RedisResult) []map[string]string {
	items, err := reply.ToArray()
	if err != nil {
		return nil
	}
	var list []map[string]string
	for _, item := range items {
		if m, err := item.AsStrMap(); err == nil {
			list = append(list, m)
		}
	}
	return list
}

// errNoRole is what a server's role is not.
var errNoRole = errors.New("it is no primary")

// isPrimary asks a server for its role, and returns why it is no primary; nil if it is.
func isPrimary(ctx context.Context, conn rueidis.CoreClient) error {
	reply, err := conn.Do(ctx, conn.B().Arbitrary("ROLE").Build()).ToArray()
	if err != nil {
		return err
	}
	if len(reply) == 0 {
		return errNoRole
	}
	role, err := reply[0].ToString()
	if err != nil || role != "master" {
		return fmt.Errorf("%w, but a %s", errNoRole, role)
	}
	return nil
}

// hostPort joins what a sentinel says of an address; empty if it says nothing of use.
func hostPort(host, port string) string {
	if host == "" || host == conn.UnknownHost || port == "" || port == "0" {
		return ""
	}
	return net.JoinHostPort(host, port)
}
