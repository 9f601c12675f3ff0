package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
)

// healthy is a server about which there is nothing to say.
func healthy(addr string) *nodeFacts {
	return &nodeFacts{
		addr: addr,
		info: map[string]string{"redis_version": "7.0.15", "role": "master", "used_memory": "1000", "connected_clients": "3"},
		config: map[string]string{
			"client-output-buffer-limit": "normal 0 0 0 slave 1 1 1 pubsub 33554432 8388608 60", "appendonly": "yes", "save": "",
			"maxmemory": "1000000", "maxmemory-policy": "noeviction", "maxmemory-clients": "0", "maxclients": "10000",
			"cluster-allow-pubsubshard-when-down": "no", "cluster-link-sendbuf-limit": "0", "cluster-node-timeout": "5000",
		},
		clockSeen: true, clockErr: time.Millisecond,
	}
}

// whole is a survey of a healthy cluster of 3 shards with a replica each.
func whole() *survey {
	s := &survey{cfg: &Config{Addrs: []string{"10.0.0.1:1"}, MaxPayload: 1 << 20, PublishTimeout: 15 * time.Second}}
	third := router.Slots / 3
	for i := 1; i <= 6; i++ {
		n := healthy(node(i).Addr)
		n.info["cluster_enabled"] = "1"
		n.view = &nodeView{from: n.addr}
		for p := 1; p <= 3; p++ {
			c := claim{slots: router.SlotRange{From: (p - 1) * third, To: p*third - 1}, epoch: uint64(p), primary: node(p), replicas: []router.Node{node(p + 3)}}
			if p == 3 {
				c.slots.To = router.Slots - 1
			}
			n.view.claims = append(n.view.claims, c)
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
		spoil    func(*survey)
		severity Severity
		node     string
		words    string
	}{
		{"old", func(s *survey) { s.nodes[0].info["redis_version"] = "6.2.1" }, Error, node(1).Addr, "6.2.1"},
		{"silent", func(s *survey) {
			s.nodes[0].err, s.nodes[0].view, s.nodes[0].info = errors.New("i/o timeout"), nil, nil
		}, Error, node(1).Addr, "i/o timeout"},
		{"mixed", func(s *survey) { s.nodes[0].info["redis_version"] = "7.0.1" }, Note, "", "7.0.1"},
		{"drops channels", func(s *survey) {
			for _, n := range s.nodes {
				n.info["redis_version"] = "7.2.2"
			}
		}, Note, "", "7.2.2 and later: 10.0.0.1:6379, 10.0.0.2:6379"},
		{"replica adrift", func(s *survey) { s.nodes[4].info["master_link_status"] = "down" }, Warning, node(5).Addr, "not linked"},
		{"disk full", func(s *survey) { s.nodes[0].info["rdb_last_bgsave_status"] = "err" }, Warning, node(1).Addr, "rdb_last_bgsave_status"},
		{"clock of all", func(s *survey) {
			for _, n := range s.nodes {
				n.clock = -time.Minute
			}
		}, Warning, node(1).Addr, "-1m0s from ours"},
		{"clocks apart", func(s *survey) { s.nodes[0].clock, s.nodes[5].clock = -600*time.Millisecond, 600*time.Millisecond }, Warning, "",
			"the clock of 10.0.0.6:6379 is 1.2s ahead of that of 10.0.0.1:6379"},
		{"behind", func(s *survey) { s.nodes[5].view.claims[0].primary, s.nodes[5].view.claims[0].epoch = node(4), 0 }, Warning, node(6).Addr, "as 0-5460"},
		{"one host", func(s *survey) {
			for _, n := range s.nodes {
				n.view.claims[0].replicas = []router.Node{{Addr: "10.0.0.1:6380", ID: "id4"}}
			}
		}, Warning, node(1).Addr, "same host"},
		{"hole", func(s *survey) {
			for _, n := range s.nodes {
				n.view.claims[0].slots.From = 7
			}
		}, Error, "", "7 of 16384 slots: [0-6]"},
		{"down", func(s *survey) { s.nodes[2].state = map[string]string{"cluster_state": "fail"} }, Error, "", "fail at " + node(3).Addr},
		{"member missed", func(s *survey) { s.nodes[2].nodesText = "id9 10.0.0.9:1@2,host slave,fail? id1 0 0 1 connected\n" }, Warning, "", "10.0.0.9:1 (fail?)"},
		{"slot on its way", func(s *survey) {
			s.nodes[2].nodesText = "id3 10.0.0.3:1@2 myself,master - 0 0 1 connected 0-9 [5->-id2]\n"
		}, Note, "", node(3).Addr},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := whole()
			if r := s.report(); len(r.Findings) > 0 || r.Kind != "cluster" || r.Worst() != 0 {
				t.Fatalf("healthy, and: %s", r)
			}
			c.spoil(s)
			for _, f := range s.report().Findings {
				if f.Severity == c.severity && f.Node == c.node && strings.Contains(f.Problem, c.words) {
					return
				}
			}
			t.Errorf("no %v at %q with %q in: %s", c.severity, c.node, c.words, s.report())
		})
	}
}

// TestCheckHidden: what may not be looked at is a note, and with Standby a warning where it is needed.
func TestCheckHidden(t *testing.T) {
	for standby, want := range map[bool]Severity{false: Note, true: Warning} {
		s := whole()
		s.cfg.Standby = standby
		s.nodes[1].hidden = []string{"cluster|info"}
		r := s.report()
		if len(r.Findings) != 1 || r.Worst() != want || !strings.Contains(r.Findings[0].Remedy, "+cluster|info") {
			t.Errorf("with Standby %v: %s", standby, r)
		}
	}
}

// TestCheckSentinelRules: likewise, of sentinels.
func TestCheckSentinelRules(t *testing.T) {
	healthySentinels := func() *survey {
		s := &survey{cfg: &Config{MaxPayload: 1 << 20, Sentinel: Sentinel{Addrs: []string{"s"}, Primary: "main"}}, nodes: []*nodeFacts{healthy("p:1"), healthy("r:1")}}
		for _, id := range []string{"a", "b", "c"} {
			s.sentinels = append(s.sentinels, &sentinelFacts{addr: id + ":1", asked: true, view: sentinelView{
				id: id, primary: "p:1", epoch: 3, replicas: []string{"r:1"}, others: map[string]string{"a": "a:1", "b": "b:1", "c": "c:1"},
				open: true, quorum: "2", downAfter: "1000",
			}})
			delete(s.sentinels[len(s.sentinels)-1].view.others, id)
		}
		return s
	}
	for _, c := range []struct {
		name     string
		spoil    func(*survey)
		severity Severity
		words    string
	}{
		{"none", func(s *survey) {
			for _, f := range s.sentinels {
				f.err = errors.New("refused")
			}
		}, Error, "none of the sentinels"},
		{"one silent", func(s *survey) { s.sentinels[0].err = errors.New("refused") }, Warning, "cannot be asked: refused"},
		{"wrong name", func(s *survey) { s.sentinels[0].err = ErrNoPrimary }, Error, "no primary"},
		{"two", func(s *survey) {
			s.sentinels = s.sentinels[:2]
			for _, f := range s.sentinels {
				delete(f.view.others, "c")
			}
		}, Warning, "there are 2"},
		{"quorum", func(s *survey) { s.sentinels[1].quorum = errors.New("NOQUORUM") }, Error, "NOQUORUM"},
		{"no replicas", func(s *survey) {
			for _, f := range s.sentinels {
				f.view.replicas = nil
			}
		}, Warning, "the primary has none"},
		{"at odds", func(s *survey) { s.sentinels[1].view.primary, s.sentinels[1].view.epoch = "old:1", 2 }, Warning, "p:1, and old:1 as of before"},
		{"a stranger", func(s *survey) { delete(s.sentinels[1].view.others, "c") }, Warning, "does not know the sentinels c:1"},
		{"one that is gone", func(s *survey) { s.sentinels[1].view.lost = []string{"d:1"} }, Warning, "cannot reach: d:1"},
		{"down for one", func(s *survey) { s.sentinels[2].view.down = true }, Warning, "takes the primary p:1 to be down"},
		{"other replicas", func(s *survey) { s.sentinels[0].view.replicas = nil }, Warning, "its replicas: none; most others': r:1"},
		{"another quorum", func(s *survey) { s.sentinels[0].view.quorum = "1" }, Warning, "its quorum: 1; most others': 2"},
		{"another patience", func(s *survey) { s.sentinels[2].view.downAfter = "60000" }, Warning, "its down-after-milliseconds: 60000; most others': 1000"},
		{"no primary", func(s *survey) { s.nodes[0].info["role"] = "slave" }, Error, "says that it is a replica"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := healthySentinels()
			if r := s.report(); len(r.Findings) > 0 || r.Kind != "sentinel" {
				t.Fatalf("healthy, and: %s", r)
			}
			c.spoil(s)
			for _, f := range s.report().Findings {
				if f.Severity == c.severity && strings.Contains(f.Problem, c.words) {
					return
				}
			}
			t.Errorf("no %v with %q in: %s", c.severity, c.words, s.report())
		})
	}
}

// TestCheckSentinelsThatTellLittle: of one that may not be asked everything nothing is made up.
func TestCheckSentinelsThatTellLittle(t *testing.T) {
	s := &survey{cfg: &Config{MaxPayload: 1 << 20, Sentinel: Sentinel{Addrs: []string{"s"}, Primary: "main"}}, nodes: []*nodeFacts{healthy("p:1"), healthy("r:1")}}
	for _, id := range []string{"a", "b", "c"} {
		s.sentinels = append(s.sentinels, &sentinelFacts{addr: id + ":1", view: sentinelView{
			id: id, primary: "p:1", epoch: 3, replicas: []string{"r:1"}, open: true, others: map[string]string{"a": "a:1", "b": "b:1", "c": "c:1"},
		}})
	}
	s.sentinels[0].view = sentinelView{id: "a:1", primary: "p:1", epoch: 3}
	if r := s.report(); len(r.Findings) > 0 {
		t.Errorf("%s", r)
	}
}
