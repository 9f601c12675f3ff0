package doctor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// healthy is a server about which there is nothing to say.
func healthy(addr string) *nodeFacts {
	return &nodeFacts{
		addr: addr, hello: conn.ServerHello{Resp3: true},
		info: map[string]string{"redis_version": "7.0.15", "role": "master", "used_memory": "1000", "connected_clients": "3"},
		config: map[string]string{
			"client-output-buffer-limit": "normal 0 0 0 slave 1 1 1 pubsub 33554432 8388608 60",
			"client-query-buffer-limit":  "1073741824", "proto-max-bulk-len": "536870912", "io-threads": "1",
			"maxmemory": "1000000", "maxmemory-clients": "0", "maxclients": "10000",
			"cluster-allow-pubsubshard-when-down": "no", "cluster-link-sendbuf-limit": "0", "cluster-node-timeout": "5000",
		},
		clockSeen: true, clockErr: time.Millisecond,
	}
}

// whole is a survey of a healthy cluster of 3 shards with a replica each.
func whole() *inspection {
	s := &inspection{cfg: &Settings{Cluster: &cluster.Settings{Servers: new(conn.Settings), Addrs: []string{"10.0.0.1:1"}}, Repair: true, MaxPayload: 1 << 20, PublishTimeout: 15 * time.Second}}
	third := router.Slots / 3
	for i := 1; i <= 6; i++ {
		n := healthy(node(i).Addr)
		n.info["cluster_enabled"] = "1"
		n.view = &cluster.NodeView{Addr: n.addr}
		for p := 1; p <= 3; p++ {
			c := cluster.SlotOwner{Slots: router.SlotRange{From: (p - 1) * third, To: p*third - 1}, Epoch: uint64(p), Primary: node(p), Replicas: []router.Node{node(p + 3)}}
			if p == 3 {
				c.Slots.To = router.Slots - 1
			}
			n.view.Owners = append(n.view.Owners, c)
		}
		if i > 3 {
			n.info["role"], n.info["master_link_status"] = "slave", "up"
		}
		s.nodes = append(s.nodes, n)
	}
	return s
}

// TestCheckRules: a healthy cluster has no findings, and each thing that is wrong has its own.
func TestCheckRules(t *testing.T) {
	for _, c := range []struct {
		name     string
		spoil    func(*inspection)
		severity Severity
		node     string
		words    string
	}{
		{"old", func(s *inspection) { s.nodes[0].info["redis_version"] = "6.2.1" }, Error, node(1).Addr, "6.2.1"},
		{"silent", func(s *inspection) {
			s.nodes[0].err, s.nodes[0].view, s.nodes[0].info = errors.New("i/o timeout"), nil, nil
		}, Error, node(1).Addr, "i/o timeout"},
		{"mixed", func(s *inspection) { s.nodes[0].info["redis_version"] = "7.0.1" }, Note, "", "7.0.1"},
		{"mixed Valkeys", func(s *inspection) {
			for i, n := range s.nodes {
				n.info["redis_version"], n.info["valkey_version"] = "7.2.4", "9.1.2"
				if i == 0 {
					n.info["valkey_version"] = "8.1.1"
				}
			}
		}, Note, "", "Valkey 8.1.1:[10.0.0.1:6379] Valkey 9.1.2:[10.0.0.2:6379"},
		{"Redis and Valkey", func(s *inspection) {
			s.nodes[0].info["redis_version"], s.nodes[0].info["valkey_version"] = "7.0.15", "7.0.15"
		}, Note, "", "Valkey 7.0.15:[10.0.0.1:6379]"},
		{"an old Valkey", func(s *inspection) { s.nodes[0].info["valkey_version"] = "6.9.9" }, Error, node(1).Addr, "6.9.9"},
		{"no sharded Pub/Sub", func(s *inspection) { s.nodes[0].missing = cluster.Sharded }, Error, node(1).Addr, "it does not know SPUBLISH nor SSUBSCRIBE"},
		{"RESP2", func(s *inspection) { s.nodes[0].hello = conn.ServerHello{} }, Note, node(1).Addr, "it speaks RESP2 only"},
		{"payloads do not count", func(s *inspection) { s.nodes[0].copyAvoidance("1", "16384", "65536", "7") }, Warning, node(1).Addr, "min-string-size-avoid-copy-reply is 16384: payloads from there on"},
		{"with threads", func(s *inspection) { s.nodes[0].copyAvoidance("2", "0", "65536", "7") }, Warning, node(1).Addr, "min-string-size-avoid-copy-reply-threaded is 65536 and io-threads 2"},
		{"with many threads", func(s *inspection) { s.nodes[0].copyAvoidance("7", "0", "0", "7") }, Warning, node(1).Addr, "min-io-threads-avoid-copy-reply is 7 and io-threads 7: no payload"},
		{"no large requests", func(s *inspection) { s.nodes[0].config["proto-max-bulk-len"] = "1048576" }, Error, node(1).Addr, "proto-max-bulk-len is 1048576: less than one event of Config.MaxPayload takes (1402197 bytes)"},
		{"no large queries", func(s *inspection) { s.nodes[0].config["client-query-buffer-limit"] = "1048576" }, Error, node(1).Addr, "client-query-buffer-limit is 1048576: less"},
		{"drops channels", func(s *inspection) {
			for _, n := range s.nodes {
				n.info["redis_version"] = "7.2.2"
			}
		}, Note, "", "7.2.2 and later: 10.0.0.1:6379, 10.0.0.2:6379"},
		{"replica adrift", func(s *inspection) { s.nodes[4].info["master_link_status"] = "down" }, Warning, node(5).Addr, "not linked"},
		{"clock of all", func(s *inspection) {
			for _, n := range s.nodes {
				n.clock = -time.Minute
			}
		}, Note, node(1).Addr, "-1m0s from ours"},
		{"clocks apart", func(s *inspection) { s.nodes[0].clock, s.nodes[5].clock = -600*time.Millisecond, 600*time.Millisecond }, Note, "",
			"the clock of 10.0.0.6:6379 is 1.2s ahead of that of 10.0.0.1:6379"},
		{"behind", func(s *inspection) { s.nodes[5].view.Owners[0].Primary, s.nodes[5].view.Owners[0].Epoch = node(4), 0 }, Warning, node(6).Addr, "as 0-5460"},
		{"one host", func(s *inspection) {
			for _, n := range s.nodes {
				n.view.Owners[0].Replicas = []router.Node{{Addr: "10.0.0.1:6380", ID: "id4"}}
			}
		}, Warning, node(1).Addr, "same host"},
		{"hole", func(s *inspection) {
			for _, n := range s.nodes {
				n.view.Owners[0].Slots.From = 7
			}
		}, Error, "", "7 of 16384 slots: [0-6]"},
		{"down", func(s *inspection) { s.nodes[2].state = map[string]string{"cluster_state": "fail"} }, Error, "", "fail at " + node(3).Addr},
		{"member missed", func(s *inspection) { s.nodes[2].nodesText = "id9 10.0.0.9:1@2,host slave,fail? id1 0 0 1 connected\n" }, Warning, "", "10.0.0.9:1 (fail?)"},
		{"slot on its way", func(s *inspection) {
			s.nodes[2].nodesText = "id3 10.0.0.3:1@2 myself,master - 0 0 1 connected 0-9 [5->-id2]\n"
		}, Note, "", node(3).Addr},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := whole()
			if r := s.report(); len(r.Findings) > 0 || r.Kind != "cluster" || worst(r) != 0 {
				t.Fatalf("healthy, and: %+v", r)
			}
			c.spoil(s)
			for _, f := range s.report().Findings {
				if f.Severity == c.severity && f.Node == c.node && strings.Contains(f.Problem, c.words) {
					return
				}
			}
			t.Errorf("no %v at %q with %q in: %+v", c.severity, c.node, c.words, s.report())
		})
	}
}

// copyAvoidance has it be a Valkey 9.1 with these settings.
func (n *nodeFacts) copyAvoidance(threads, size, threaded, minThreads string) {
	n.config["io-threads"], n.config["min-string-size-avoid-copy-reply"] = threads, size
	n.config["min-string-size-avoid-copy-reply-threaded"], n.config["min-io-threads-avoid-copy-reply"] = threaded, minThreads
}

// TestCheckSaysNothing: settings that look like trouble and are none.
func TestCheckSaysNothing(t *testing.T) {
	for name, set := range map[string]func(*nodeFacts){
		"payloads count":               func(n *nodeFacts) { n.copyAvoidance("1", "0", "65536", "7") },
		"beyond what we send":          func(n *nodeFacts) { n.copyAvoidance("1", "2000000", "65536", "7") },
		"payloads count, with threads": func(n *nodeFacts) { n.copyAvoidance("4", "16384", "0", "7") },
		"and however many there are":   func(n *nodeFacts) { n.copyAvoidance("16", "16384", "0", "0") },
		"just enough":                  func(n *nodeFacts) { n.config["proto-max-bulk-len"] = "1402197" },
		"keys that may go":             func(n *nodeFacts) { n.config["maxmemory-policy"], n.info["used_memory"] = "allkeys-lru", "999999" },
		"snapshots that fail":          func(n *nodeFacts) { n.info["rdb_last_bgsave_status"] = "err" },
	} {
		s := whole()
		for _, n := range s.nodes {
			set(n)
		}
		if r := s.report(); len(r.Findings) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestCheckRoles: of several addresses without a cluster and without sentinels, one may be a
// primary.
func TestCheckRoles(t *testing.T) {
	for _, c := range []struct {
		name     string
		roles    []string
		severity Severity
		words    []string // one finding each
	}{
		{"a primary", []string{"master"}, 0, nil},
		{"a primary and its replica", []string{"master", "slave"}, Warning, []string{"it is a replica, of 10.0.0.9:6379"}},
		{"replicas", []string{"slave", "slave"}, Error, []string{"no primary is among the addresses", "no primary is among the addresses"}},
		{"two primaries", []string{"master", "slave", "master"}, Error, []string{"several of the addresses are primaries, and no cluster: 10.0.0.1:6379, 10.0.0.3:6379", "it is a replica"}},
		{"a server that does not say", []string{""}, Warning, []string{"it does not say whether it is a primary"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &inspection{cfg: &Settings{Cluster: &cluster.Settings{Servers: new(conn.Settings)}, Repair: true, MaxPayload: 1 << 20}}
			for i, role := range c.roles {
				n := healthy(node(i + 1).Addr)
				n.info["role"], n.info["master_host"], n.info["master_port"], n.info["master_link_status"] = role, "10.0.0.9", "6379", "up"
				s.nodes = append(s.nodes, n)
			}
			r := s.report()
			if len(r.Findings) != len(c.words) || worst(r) != c.severity {
				t.Fatalf("%+v", r)
			}
			for i, words := range c.words {
				if f := r.Findings[i]; f.Subject != "role" || !strings.Contains(f.Problem, words) {
					t.Errorf("%+v, want %q", f, words)
				}
			}
		})
	}
}

// TestCheckHidden: what may not be looked at is a note, and with Standby a warning where it is
// needed.
func TestCheckHidden(t *testing.T) {
	for standby, want := range map[bool]Severity{false: Note, true: Warning} {
		s := whole()
		s.cfg.Cluster.Standby = standby
		s.nodes[1].hidden = []string{"cluster|info"}
		r := s.report()
		if len(r.Findings) != 1 || worst(r) != want || !strings.Contains(r.Findings[0].Remedy, "+cluster|info") {
			t.Errorf("with Standby %v: %+v", standby, r)
		}
	}
}

// TestCheckSentinelRules: likewise, of sentinels.
func TestCheckSentinelRules(t *testing.T) {
	healthySentinels := func() *inspection {
		s := &inspection{cfg: &Settings{Cluster: &cluster.Settings{Servers: new(conn.Settings), Sentinels: new(conn.Settings), SentinelAddrs: []string{"s"}, Primary: "main"}, Repair: true, MaxPayload: 1 << 20}, nodes: []*nodeFacts{healthy("p:1"), healthy("r:1")}}
		for _, id := range []string{"a", "b", "c"} {
			s.sentinels = append(s.sentinels, &sentinelFacts{addr: id + ":1", asked: true, view: cluster.SentinelView{
				ID: id, Primary: "p:1", Epoch: 3, Replicas: []string{"r:1"}, Others: map[string]string{"a": "a:1", "b": "b:1", "c": "c:1"},
				Complete: true, Quorum: "2", DownAfter: "1000",
			}})
			delete(s.sentinels[len(s.sentinels)-1].view.Others, id)
		}
		return s
	}
	for _, c := range []struct {
		name     string
		spoil    func(*inspection)
		severity Severity
		words    string
	}{
		{"none", func(s *inspection) {
			for _, f := range s.sentinels {
				f.err = errors.New("refused")
			}
		}, Error, "none of the sentinels"},
		{"one silent", func(s *inspection) { s.sentinels[0].err = errors.New("refused") }, Warning, "cannot be asked: refused"},
		{"wrong name", func(s *inspection) { s.sentinels[0].err = conn.ErrNoPrimary }, Error, "no primary"},
		{"two", func(s *inspection) {
			s.sentinels = s.sentinels[:2]
			for _, f := range s.sentinels {
				delete(f.view.Others, "c")
			}
		}, Warning, "there are 2"},
		{"quorum", func(s *inspection) { s.sentinels[1].quorum = errors.New("NOQUORUM") }, Error, "NOQUORUM"},
		{"no replicas", func(s *inspection) {
			for _, f := range s.sentinels {
				f.view.Replicas = nil
			}
		}, Warning, "the primary has none"},
		{"at odds", func(s *inspection) { s.sentinels[1].view.Primary, s.sentinels[1].view.Epoch = "old:1", 2 }, Warning, "p:1, and old:1 as of before"},
		{"a stranger", func(s *inspection) { delete(s.sentinels[1].view.Others, "c") }, Warning, "does not know the sentinels c:1"},
		{"one that is gone", func(s *inspection) { s.sentinels[1].view.Unreachable = []string{"d:1"} }, Warning, "cannot reach: d:1"},
		{"down for one", func(s *inspection) { s.sentinels[2].view.Down = true }, Warning, "takes the primary p:1 to be down"},
		{"other replicas", func(s *inspection) { s.sentinels[0].view.Replicas = nil }, Warning, "its replicas: none; most others': r:1"},
		{"another quorum", func(s *inspection) { s.sentinels[0].view.Quorum = "1" }, Warning, "its quorum: 1; most others': 2"},
		{"another patience", func(s *inspection) { s.sentinels[2].view.DownAfter = "60000" }, Warning, "its down-after-milliseconds: 60000; most others': 1000"},
		{"no primary", func(s *inspection) { s.nodes[0].info["role"] = "slave" }, Error, "says that it is a replica"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := healthySentinels()
			if r := s.report(); len(r.Findings) > 0 || r.Kind != "sentinel" {
				t.Fatalf("healthy, and: %+v", r)
			}
			c.spoil(s)
			for _, f := range s.report().Findings {
				if f.Severity == c.severity && strings.Contains(f.Problem, c.words) {
					return
				}
			}
			t.Errorf("no %v with %q in: %+v", c.severity, c.words, s.report())
		})
	}
}

// TestCheckSentinelsThatTellLittle: of one that may not be asked everything nothing is made up.
func TestCheckSentinelsThatTellLittle(t *testing.T) {
	s := &inspection{cfg: &Settings{Cluster: &cluster.Settings{Servers: new(conn.Settings), Sentinels: new(conn.Settings), SentinelAddrs: []string{"s"}, Primary: "main"}, Repair: true, MaxPayload: 1 << 20}, nodes: []*nodeFacts{healthy("p:1"), healthy("r:1")}}
	for _, id := range []string{"a", "b", "c"} {
		s.sentinels = append(s.sentinels, &sentinelFacts{addr: id + ":1", view: cluster.SentinelView{
			ID: id, Primary: "p:1", Epoch: 3, Replicas: []string{"r:1"}, Complete: true, Others: map[string]string{"a": "a:1", "b": "b:1", "c": "c:1"},
		}})
	}
	s.sentinels[0].view = cluster.SentinelView{ID: "a:1", Primary: "p:1", Epoch: 3}
	if r := s.report(); len(r.Findings) > 0 {
		t.Errorf("%+v", r)
	}
}

// worst is the severity of the gravest finding; 0 if there is none.
func worst(r Report) Severity {
	if len(r.Findings) == 0 {
		return 0
	}
	return r.Findings[0].Severity
}
