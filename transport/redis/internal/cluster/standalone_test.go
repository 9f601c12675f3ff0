package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"pgregory.net/rapid"
)

func TestChooseLone(t *testing.T) {
	now := time.Now()
	primary, replica := conn.ServerRole{Known: true}, conn.ServerRole{Known: true, Replica: true}
	long, just := now.Add(-standaloneSilence), now.Add(-standaloneSilence/2)
	for _, c := range []struct {
		name    string
		servers []standaloneServer
		want    string
	}{
		{"nobody was asked", []standaloneServer{{addr: "a"}, {addr: "b"}}, "a"},
		{"a primary", []standaloneServer{{addr: "a", role: primary, answers: true}, {addr: "b", role: primary, answers: true}}, "a"},
		{"one that does not tell", []standaloneServer{{addr: "a", answers: true}, {addr: "b", role: primary, answers: true}}, "a"},
		{"a replica", []standaloneServer{{addr: "a", role: replica, answers: true}, {addr: "b", role: primary, answers: true}}, "b"},
		{"replicas only", []standaloneServer{{addr: "a", role: replica, answers: true}, {addr: "b", role: replica, answers: true}}, "a"},
		{"a replica, and one that does not tell", []standaloneServer{{addr: "a", role: replica, answers: true}, {addr: "b", answers: true}}, "a"},
		{"silent for a moment", []standaloneServer{{addr: "a", role: primary, silentSince: just}, {addr: "b", role: primary, answers: true}}, "a"},
		{"silent", []standaloneServer{{addr: "a", role: primary, silentSince: long}, {addr: "b", role: primary, answers: true}}, "b"},
		{"silent, as all", []standaloneServer{{addr: "a", silentSince: long}, {addr: "b", role: primary, silentSince: long}}, "a"},
		{"none of the addresses any more", []standaloneServer{{addr: "b", role: primary, answers: true}}, "b"},
	} {
		if got := chooseStandalone("a", c.servers, now); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// TestChooseLoneStays: whatever the servers say, who is a primary is not left, and nobody goes
// where no primary is.
func TestChooseLoneStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		addrs := []string{"a", "b", "c"}
		var servers []standaloneServer
		for _, addr := range addrs {
			s := standaloneServer{addr: addr, answers: rapid.Bool().Draw(t, "answer")}
			s.role.Known = rapid.Bool().Draw(t, "known")
			s.role.Replica = s.role.Known && rapid.Bool().Draw(t, "replica")
			if !s.answers {
				s.silentSince = now.Add(-rapid.SampledFrom([]time.Duration{0, time.Second, time.Minute}).Draw(t, "silent"))
			}
			servers = append(servers, s)
		}
		held := rapid.SampledFrom(addrs).Draw(t, "held")
		got := chooseStandalone(held, servers, now)
		was := servers[slices.Index(addrs, held)]
		is := servers[slices.Index(addrs, got)]
		if got != held && (was.answers && !was.role.Replica || !is.answers || !is.role.Known || is.role.Replica) {
			t.Fatalf("%s for %s of %+v", got, held, servers)
		}
		if again := chooseStandalone(got, servers, now); again != got {
			t.Fatalf("%s, then %s, of %+v", got, again, servers)
		}
	})
}

func TestLoneIdentity(t *testing.T) {
	var l addressIdentity
	now := time.Now()
	for _, step := range []struct {
		after          time.Duration
		run            string
		moved, several bool
	}{
		{0, "1", false, false}, {0, "1", false, false}, {0, "", false, false}, {time.Second, "2", true, false}, {2 * runMemory, "1", true, false},
		{time.Second, "2", false, true}, {time.Second, "1", false, false}, {time.Second, "3", false, false},
	} {
		now = now.Add(step.after)
		if moved, several := l.observe(now, step.run); moved != step.moved || several != step.several {
			t.Errorf("%+v: %v, %v", step, moved, several)
		}
	}
}

// TestLoneIdentityIsBounded: an address that never leads to a server twice is not followed for ever
// either.
func TestLoneIdentityIsBounded(t *testing.T) {
	var l addressIdentity
	now := time.Now()
	moves := 0
	for i := range 1000 {
		now = now.Add(resolveEvery)
		moved, several := l.observe(now, fmt.Sprint(i))
		if moved {
			moves++
		}
		if want := i == maxRuns; several != want {
			t.Fatalf("%d: several %v", i, several)
		}
	}
	if moves != maxRuns-1 || len(l.previous) > 0 {
		t.Errorf("followed %d times, %d remembered", moves, len(l.previous))
	}
	l = addressIdentity{}
	for i := range 1000 { // one fail-over a minute is no such thing
		now = now.Add(runMemory)
		if moved, several := l.observe(now, fmt.Sprint(i)); moved != (i > 0) || several || len(l.previous) > 1 {
			t.Fatalf("%d: moved %v, several %v, %d remembered", i, moved, several, len(l.previous))
		}
	}
}

func TestLoneRoles(t *testing.T) {
	var l addressRoles
	now := time.Now()
	for i, step := range []struct {
		after         time.Duration
		replica       bool
		became, turns bool
	}{
		{0, false, false, false}, {time.Second, true, true, false}, {time.Second, true, false, false}, {time.Second, false, false, false},
		{2 * runMemory, false, false, false}, {time.Second, true, true, false}, // again, long after
		{2 * runMemory, true, false, false}, {time.Second, false, false, false}, // for long
		{time.Second, true, false, true}, {time.Second, false, false, false}, {time.Second, true, false, false}, // in turn
		{2 * runMemory, false, false, false}, {time.Second, true, false, false},
	} {
		now = now.Add(step.after)
		if became, turns := l.observe(now, step.replica); became != step.became || turns != step.turns {
			t.Errorf("%d, %+v: %v, %v", i, step, became, turns)
		}
	}
}

func TestRoleAsker(t *testing.T) {
	no := resp.Error("NOPERM this user has no permissions")
	info := []string{"# Server\r\nrun_id:77\r\n# Replication\r\nrole:slave\r\nmaster_host:h\r\nmaster_port:1\r\n"}
	hello := []string{"server", "redis", "proto", "2", "role", "replica", "modules", ""}
	for _, c := range []struct {
		name    string
		answers map[string][]string // by command; what is not there is refused
		want    conn.ServerRole
		asked   []string // by again
	}{
		{"all", map[string][]string{"INFO": info, "HELLO": hello}, conn.ServerRole{Known: true, Replica: true, Primary: "h:1", RunID: "77"}, []string{"HELLO"}},
		{"no INFO", map[string][]string{"HELLO": hello}, conn.ServerRole{Known: true, Replica: true}, []string{"HELLO"}},
		{"ROLE", map[string][]string{"ROLE": {"slave", "::1", "2", "connected", "7"}}, conn.ServerRole{Known: true, Replica: true, Primary: "[::1]:2"}, []string{"ROLE"}},
		{"a primary", map[string][]string{"ROLE": {"master", "0", ""}}, conn.ServerRole{Known: true}, []string{"ROLE"}},
		{"HELLO of a proxy", map[string][]string{"HELLO": {"server", "proxy"}, "INFO": info}, conn.ServerRole{Known: true, Replica: true, Primary: "h:1", RunID: "77"}, []string{"HELLO", "ROLE", "INFO"}},
		{"nothing", nil, conn.ServerRole{}, nil},
	} {
		var asked []string
		r := &conn.RoleQuery{Do: func(_ context.Context, words ...string) ([]string, error) {
			asked = append(asked, words[0])
			if reply, ok := c.answers[words[0]]; ok {
				return reply, nil
			}
			return nil, no
		}}
		if got, err := r.Identify(t.Context()); got != c.want || err != nil {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		asked = nil
		if got, err := r.Again(t.Context()); got.Known != c.want.Known || got.Replica != c.want.Replica || got.RunID != c.want.RunID || err != nil || !slices.Equal(asked, c.asked) {
			t.Errorf("%s again: %+v, %v, asked %q", c.name, got, err, asked)
		}
	}
	lost := errors.New("lost")
	r := &conn.RoleQuery{Do: func(context.Context, ...string) ([]string, error) { return nil, lost }}
	if _, err := r.Identify(t.Context()); !errors.Is(err, lost) {
		t.Error(err)
	}
}
