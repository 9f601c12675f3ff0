package redis_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// replicate makes a server a replica of another, and waits until it is.
func replicate(t *testing.T, s, of *redistest.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(of.Addr())
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "REPLICAOF", host, port)
	eventually(t, "replication", func() error {
		info, err := s.Do(t.Context(), "INFO", "replication")
		if err == nil && !strings.Contains(info.(string), "master_link_status:up") {
			err = fmt.Errorf("%s", info)
		}
		return err
	})
}

// at waits until the connections of publishers and subscribers are at a server, so many of each.
func at(t *testing.T, s *redistest.Server, n int) {
	t.Helper()
	eventually(t, "the connections at the primary", func() error {
		list, err := s.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			return err
		}
		publish, subscribe := strings.Count(list.(string), "name=shardbus-publish"), strings.Count(list.(string), "name=shardbus-subscribe")
		if publish < n || subscribe < n {
			return fmt.Errorf("%d publishers, %d subscribers", publish, subscribe)
		}
		return nil
	})
}

// pair returns a primary and its replica.
func pair(t *testing.T) (primary, replica *redistest.Server) {
	primary, replica = redistest.Standalone(t, redistest.Config{}), redistest.Standalone(t, redistest.Config{})
	replicate(t, replica, primary)
	return primary, replica
}

// moving is a name that leads to one server, and then to another.
type moving struct {
	to atomic.Pointer[redistest.Server]
}

func newMoving(s *redistest.Server) *moving {
	m := new(moving)
	m.to.Store(s)
	return m
}

func (m *moving) dial(ctx context.Context, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", m.to.Load().Addr())
}

// TestReplicaFirst: of a replica and its primary the primary is taken, and a replica alone is refused.
func TestReplicaFirst(t *testing.T) {
	t.Parallel()
	primary, replica := pair(t)
	n := serve(t, redis.Config{Addrs: []string{replica.Addr(), primary.Addr()}})
	other := serve(t, redis.Config{Addrs: []string{primary.Addr()}})
	other.subscribe(t, transport.Topic{Name: "orders"})
	if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "1"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	other.await(t, "the event", func() bool { return len(other.events) == 1 })

	err := open(t, redis.Config{Addrs: []string{replica.Addr()}, PublishTimeout: 300 * time.Millisecond})
	if !errors.Is(err, redis.ErrNoPrimary) || !strings.Contains(err.Error(), "it is a replica") || !strings.Contains(err.Error(), primary.Addr()) {
		t.Errorf("%v", err)
	}
}

// TestReplicaOfByHand: the roles of two servers are exchanged under load, back and forth; every event arrives.
func TestReplicaOfByHand(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	f := startFlowAt(t, redis.Config{Addrs: []string{one.Addr(), two.Addr()}}, 5, flowEvery)
	for range 2 {
		do(t, two, "REPLICAOF", "NO", "ONE")
		replicate(t, one, two)
		at(t, two, 2)
		f.flowing(t)
		one, two = two, one
	}
	f.check(t)
}

// TestPrimaryDies: the primary among the addresses dies, and the other is made one by hand.
func TestPrimaryDies(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	f := startFlowAt(t, redis.Config{Addrs: []string{one.Addr(), two.Addr()}}, 5, flowEvery)
	if err := one.Kill(); err != nil {
		t.Fatal(err)
	}
	do(t, two, "REPLICAOF", "NO", "ONE")
	at(t, two, 2)
	f.flowing(t)
	f.check(t)
}

// TestNameMoves: the one address is a name, which at a fail-over leads to the new primary.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		old  func(t *testing.T, old, now *redistest.Server)
	}{
		{"the old primary becomes a replica", func(t *testing.T, old, now *redistest.Server) { replicate(t, old, now) }},
		{"the old primary dies", func(t *testing.T, old, _ *redistest.Server) {
			if err := old.Kill(); err != nil {
				t.Error(err)
			}
		}},
		{"the old primary hangs", func(t *testing.T, old, _ *redistest.Server) {
			if err := old.Stop(); err != nil {
				t.Error(err)
			}
		}},
		{"the old primary does not know", func(*testing.T, *redistest.Server, *redistest.Server) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			one, two := pair(t)
			name := newMoving(one)
			f := startFlowAt(t, redis.Config{Addrs: []string{"db.example"}, Dial: name.dial}, 5, flowEvery)
			do(t, two, "REPLICAOF", "NO", "ONE")
			c.old(t, one, two)
			name.to.Store(two)
			at(t, two, 2)
			f.flowing(t)
			f.check(t)
		})
	}
}

// TestNameOfSeveral: a name that leads to several primaries in turn costs a warning, and no connection after that.
func TestNameOfSeveral(t *testing.T) {
	t.Parallel()
	one := redistest.Standalone(t, redistest.Config{})
	two := redistest.Standalone(t, redistest.Config{})
	var dialled atomic.Int64
	core, logs := observer.New(zap.WarnLevel)
	n := serve(t, redis.Config{Addrs: []string{"vip.example"}, Logger: zap.New(core), Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		s := one
		if dialled.Add(1)%2 == 0 {
			s = two
		}
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	}})
	n.subscribe(t, transport.Topic{Name: "orders"})
	eventually(t, "the warning", func() error {
		if logs.FilterMessageSnippet("several servers in turn").Len() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
}

// TestNameOfPrimaryAndReplica: a name that leads to the primary and to its replica at random, as a balancer's may, costs two
// warnings; the connections to the primary stay, and every event arrives.
func TestNameOfPrimaryAndReplica(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	var dialled atomic.Int64
	core, logs := observer.New(zap.WarnLevel)
	f := startFlowAt(t, redis.Config{Addrs: []string{"vip.example"}, Logger: zap.New(core), Dial: func(ctx context.Context, _ string) (net.Conn, error) {
		s := one
		if n := dialled.Add(1); n > 1 && rand.N(2) == 0 {
			s = two
		}
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	}}, 5, flowEvery)
	at(t, one, 2)
	f.flowing(t)
	before := readers(t, one)
	eventually(t, "the warning", func() error {
		if logs.FilterMessageSnippet("primary and to replicas in turn").Len() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	f.flowing(t)
	if after := readers(t, one); before != after {
		t.Errorf("subscribers' connections were %s, are %s", before, after)
	}
	f.check(t)
	for _, said := range logs.All() {
		t.Log(said.Message, said.ContextMap())
	}
}

// TestRoleHidden: a user that may use neither INFO nor ROLE is told of a replica by HELLO. Without that nothing is known of
// roles: there is a warning, and it goes on.
func TestRoleHidden(t *testing.T) {
	t.Parallel()
	const user = "user app on >secret resetchannels &* -@all +ping +client|setname +spublish +ssubscribe +sunsubscribe"
	primary := redistest.Standalone(t, redistest.Config{Directives: []string{user}})
	replica := redistest.Standalone(t, redistest.Config{Directives: []string{user}})
	replicate(t, replica, primary)
	core, logs := observer.New(zap.WarnLevel)
	cfg := redis.Config{Addrs: []string{replica.Addr(), primary.Addr()}, Username: "app", Password: "secret", Logger: zap.New(core)}
	flow := startFlowAt(t, cfg, 2, flowEvery)
	at(t, primary, 2)
	flow.check(t)
	if found := logs.FilterMessageSnippet("does not say whether").All(); len(found) > 0 {
		t.Errorf("%v", found)
	}

	mute := redistest.Standalone(t, redistest.Config{Directives: []string{user, `rename-command HELLO ""`}})
	core, logs = observer.New(zap.WarnLevel)
	cfg.Addrs, cfg.Logger = []string{mute.Addr()}, zap.New(core)
	n := serve(t, cfg)
	n.subscribe(t, transport.Topic{Name: "orders"})
	if res := n.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "1"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	n.await(t, "the event", func() bool { return len(n.events) == 1 })
	eventually(t, "the warning", func() error {
		if n := logs.FilterMessageSnippet("does not say whether").Len(); n != 1 {
			return fmt.Errorf("%d warnings", n)
		}
		return nil
	})
}
