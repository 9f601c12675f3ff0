package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// TestParseMembers: lines of CLUSTER NODES of Redis 7.0 and 8, and of Valkey 9.
func TestParseMembers(t *testing.T) {
	text := strings.Join([]string{
		"aa 10.0.0.1:7000@17000 myself,master - 0 0 7 connected 0-5 [3->-bb]",
		"bb 10.0.0.2:7000@17000,node-2.test slave aa 0 1 7 connected",
		"cc ::1:7001@17001,,shard-id=ff slave,fail? aa 0 1 7 disconnected",
		"dd :7002@0,node-4,shard-id=ff,nodename=x master,noaddr - 0 0 0 connected",
		"ee [2001:db8::1]:7003@17003 replica aa 0 0 1 connected",
		"ff 10.0.0.6:7000@17000 slave aa 0 0 x connected",
		"short", "",
	}, "\n")
	want := []clusterNode{
		{id: "aa", ip: "10.0.0.1", port: "7000", flags: []string{"myself", "master"}, epoch: 7},
		{id: "bb", ip: "10.0.0.2", port: "7000", hostname: "node-2.test", flags: []string{"slave"}, primary: "aa", epoch: 7},
		{id: "cc", ip: "::1", port: "7001", flags: []string{"slave", "fail?"}, primary: "aa", epoch: 7},
		{id: "dd", port: "7002", hostname: "node-4", flags: []string{"master", "noaddr"}},
		{id: "ee", ip: "2001:db8::1", port: "7003", flags: []string{"replica"}, primary: "aa", epoch: 1},
	}
	got := parseClusterNodes(text)
	if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); a != b {
		t.Errorf("%s,\nwant %s", a, b)
	}
	serving := 0
	for _, m := range got {
		if m.serves() {
			serving++
		}
	}
	if serving != 3 {
		t.Errorf("%d serve, want bb, cc and ee", serving)
	}
}

func TestAddEpochs(t *testing.T) {
	owners := []SlotOwner{{Primary: router.Node{ID: "aa"}}, {Primary: router.Node{ID: "cc"}}}
	addEpochs(owners, parseClusterNodes("aa 1.2.3.4:1@2 myself,master - 0 0 7 connected 0-5\nbb 1.2.3.4:1@2 slave aa 0 0 x connected\nshort\n"))
	if owners[0].Epoch != 7 || owners[1].Epoch != 0 {
		t.Errorf("%+v", owners)
	}
}

// TestAddReplicas: a replica that CLUSTER SLOTS leaves out is found where CLUSTER SLOTS would have
// it.
func TestAddReplicas(t *testing.T) {
	const reached = "proxy.test:6379"
	line := func(id, at, flags, primary string) string {
		return fmt.Sprintf("%s %s %s %s 0 0 1 connected\n", id, at, flags, primary)
	}
	a := line("a", "10.0.0.1:7000@17000,one.test", "myself,master", "-")
	for _, c := range []struct {
		name    string
		primary string   // where CLUSTER SLOTS has it
		named   []string // replicas in CLUSTER SLOTS, as id=addr
		nodes   string
		want    string
	}{
		{"nothing is left out", "10.0.0.1:7000", []string{"b=10.0.0.2:7000"}, a + line("b", "10.0.0.2:7000@17000", "slave", "a"), "10.0.0.2:7000"},
		{"by IP", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:7000@17000,two.test", "slave", "a"), "10.0.0.2:7000"},
		{"by hostname", "one.test:7000", nil, a + line("b", "10.0.0.2:7000@17000,two.test", "slave", "a"), "two.test:7000"},
		{"by hostname, not known yet", "one.test:7000", nil, a + line("b", "10.0.0.2:7000@17000", "slave", "a"), "10.0.0.2:7000"},
		{"the same host", "proxy.test:7000", nil, a + line("b", "10.0.0.2:7001@17000", "slave", "a"), "proxy.test:7001"},
		{"IPv6", "[::1]:7000", nil, line("a", "::1:7000@1", "myself,master", "-") + line("b", "::1:7001@2", "slave", "a"), "[::1]:7001"},
		{"a node that does not know its IP", "proxy.test:7000", nil, line("a", ":7000@1", "myself,master", "-") + line("b", "10.0.0.2:7001@2", "slave", "a"), "10.0.0.2:7001"},
		{"one of two, in order", "10.0.0.1:7000", []string{"c=10.0.0.3:7000"},
			a + line("d", "10.0.0.4:7000@1", "slave", "a") + line("c", "10.0.0.3:7000@1", "slave", "a") + line("b", "10.0.0.2:7000@1", "slave", "a"),
			"10.0.0.3:7000 10.0.0.2:7000 10.0.0.4:7000"},
		{"suspected", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:7000@1", "slave,fail?", "a"), "10.0.0.2:7000"},
		{"failed", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:7000@1", "slave,fail", "a"), ""},
		{"no address", "10.0.0.1:7000", nil, a + line("b", ":0@0", "slave,noaddr", "a"), ""},
		{"no port", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:0@1", "slave", "a"), ""},
		{"another's", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:7000@1", "slave", "z"), ""},
		{"a primary", "10.0.0.1:7000", nil, a + line("b", "10.0.0.2:7000@1", "master", "-"), ""},
		{"at the address of the primary", "10.0.0.1:7000", nil, a + line("b", "10.0.0.1:7000@1", "slave", "a"), ""},
		{"addresses of a provider's", "nat.test:31000", nil, a + line("b", "10.0.0.2:7000@1,two.test", "slave", "a"), ""},
		{"nodes that name nobody", "10.0.0.1:7000", nil, line("b", "10.0.0.2:7000@1", "slave", "a"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			owners := []SlotOwner{{Primary: router.Node{ID: "a", Addr: c.primary}}, {Primary: router.Node{ID: "a", Addr: c.primary}}}
			for _, named := range c.named {
				id, addr, _ := strings.Cut(named, "=")
				for i := range owners {
					owners[i].Replicas = append(owners[i].Replicas, router.Node{ID: id, Addr: addr})
				}
			}
			addReplicas(owners, parseClusterNodes(c.nodes), reached)
			for _, owner := range owners {
				var got []string
				for _, r := range owner.Replicas {
					got = append(got, r.Addr)
				}
				if strings.Join(got, " ") != c.want {
					t.Errorf("%v, want %s", got, c.want)
				}
			}
		})
	}
}

// FuzzMembers: whatever CLUSTER NODES says, replicas have an address, and none is there twice.
func FuzzMembers(f *testing.F) {
	f.Add("a 10.0.0.1:7000@17000,one.test myself,master - 0 0 1 connected 0-5\nb 10.0.0.2:7000@17000 slave a 0 0 1 connected\n", "10.0.0.1:7000")
	f.Add("a ::1:7000@1 master - 0 0 1 connected\nb :7001@1,h,x=y slave,fail? a 0 0 1 connected\n", "[::1]:7000")
	f.Fuzz(func(t *testing.T, nodes, primary string) {
		owners := []SlotOwner{{Primary: router.Node{ID: "a", Addr: primary}}}
		listed := parseClusterNodes(nodes)
		addEpochs(owners, listed)
		addReplicas(owners, listed, "h:1")
		seen := []string{primary}
		for _, r := range owners[0].Replicas {
			if host, ok := conn.CompleteAddr(r.Addr, ""); !ok || host != r.Addr || slices.Contains(seen, r.Addr) {
				t.Errorf("%q among %q", r.Addr, seen)
			}
			seen = append(seen, r.Addr)
		}
	})
}
