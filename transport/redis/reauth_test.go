package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// wallet is a Config.Credentials whose answer a test changes.
type wallet struct {
	now   atomic.Pointer[redis.Credentials]
	fails atomic.Pointer[error]
	asked atomic.Int64
}

func newWallet(user, password string) *wallet {
	w := new(wallet)
	w.put(user, password)
	return w
}

func (w *wallet) put(user, password string) {
	w.now.Store(&redis.Credentials{Username: user, Password: password})
}

func (w *wallet) get(context.Context, string) (redis.Credentials, error) {
	w.asked.Add(1)
	if err := w.fails.Load(); err != nil {
		return redis.Credentials{}, *err
	}
	return *w.now.Load(), nil
}

// clients returns who is connected under a name: users by connection ID.
func clients(t *testing.T, s *redistest.Server, name string) map[string]string {
	t.Helper()
	reply, err := s.Do(t.Context(), "CLIENT", "LIST")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(reply.(string)) {
		fields := map[string]string{}
		for _, word := range strings.Fields(line) {
			key, value, _ := strings.Cut(word, "=")
			fields[key] = value
		}
		if fields["name"] == name {
			found[fields["id"]] = fields["user"]
		}
	}
	return found
}

func do(t *testing.T, s *redistest.Server, words ...string) {
	t.Helper()
	if _, err := s.Do(t.Context(), words...); err != nil {
		t.Fatal(err)
	}
}

// TestRotation: passwords and users are replaced, and what was valid before is removed, without a connection noticing.
func TestRotation(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"user one on >old ~* &* +@all", "user default off"}})
	w := newWallet("one", "old")
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, Credentials: w.get})
	n.subscribe(t, transport.Topic{Name: "a"})
	before := clients(t, s, "shardbus-subscribe")
	sent := 0
	arrives := func() {
		t.Helper()
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Fatalf("%+v", res)
		}
		sent++
		n.await(t, "the event", func() bool { return len(n.events) == sent })
	}
	arrives()

	// Another password, of the same user.
	do(t, s, "ACL", "SETUSER", "one", ">new")
	w.put("one", "new")
	if err := n.Reauthenticate(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, s, "ACL", "SETUSER", "one", "<old")
	arrives()

	// Another user. Removing the one before ends every connection that is still its own.
	do(t, s, "ACL", "SETUSER", "two", "on", ">second", "~*", "&*", "+@all")
	w.put("two", "second")
	if err := n.Reauthenticate(t.Context()); err != nil {
		t.Fatal(err)
	}
	do(t, s, "ACL", "DELUSER", "one")
	arrives()
	after := clients(t, s, "shardbus-subscribe")
	for id := range before {
		if after[id] != "two" || len(after) != 1 {
			t.Errorf("the subscriber was %v and is %v", before, after)
		}
	}

	// Nothing to log in with, or the wrong thing: told, and the connections stay.
	noToken := errors.New("no token today")
	w.fails.Store(&noToken)
	if err := n.Reauthenticate(t.Context()); !errors.Is(err, noToken) {
		t.Errorf("%v", err)
	}
	arrives()
	w.fails.Store(nil)
	w.put("two", "wrong")
	if err := n.Reauthenticate(t.Context()); !errors.Is(err, redis.ErrAuth) || !strings.Contains(err.Error(), s.Addr()) {
		t.Errorf("%v", err)
	}
	arrives()

	// New connections ask, too.
	w.put("two", "second")
	asked := w.asked.Load()
	if _, err := s.KillClients(t.Context(), "pubsub"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the subscriber to be back", func() error {
		if got := clients(t, s, "shardbus-subscribe"); len(got) != 1 || w.asked.Load() == asked {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	n.stop()
	if err := n.Reauthenticate(t.Context()); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// bubbled opens a transport on a cluster in memory and runs f while it is served.
func bubbled(t *testing.T, fake fakecluster.Config, cfg redis.Config, f func(*testing.T, *fakecluster.Cluster, *node)) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fake)
		cfg.Addrs, cfg.Dial = c.Addrs(), c.Dial
		f(t, c, serve(t, cfg))
	})
}

// TestRenew: connections log in again when their credentials say so, and only then.
func TestRenew(t *testing.T) {
	calls := new(atomic.Int64)
	credentials := func(context.Context, string) (redis.Credentials, error) {
		calls.Add(1)
		return redis.Credentials{Password: "pw", Renew: time.Now().Add(10 * time.Minute)}, nil
	}
	bubbled(t, fakecluster.Config{Password: "pw"}, redis.Config{Credentials: credentials}, func(t *testing.T, c *fakecluster.Cluster, n *node) {
		n.subscribe(t, transport.Topic{Name: "a"})
		time.Sleep(time.Minute)
		made, auths := calls.Load(), c.Calls("AUTH")
		time.Sleep(8 * time.Minute)
		if calls.Load() != made || c.Calls("AUTH") != auths {
			t.Errorf("asked %d times, then %d; AUTH %d times", made, calls.Load(), c.Calls("AUTH"))
		}
		time.Sleep(10 * time.Minute)
		// 3 nodes: publisher, subscriber and topology each.
		if renewed := c.Calls("AUTH") - auths; renewed != 9 || calls.Load() != made+9 {
			t.Errorf("%d connections logged in again, want 9; asked %d times more", renewed, calls.Load()-made)
		}
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Errorf("%+v", res)
		}
	})
}

// TestRenewAtOnce: credentials that are over when they are given make no hot loop.
func TestRenewAtOnce(t *testing.T) {
	calls := new(atomic.Int64)
	credentials := func(context.Context, string) (redis.Credentials, error) {
		calls.Add(1)
		return redis.Credentials{Password: "pw", Renew: time.Unix(1, 0)}, nil
	}
	bubbled(t, fakecluster.Config{Password: "pw"}, redis.Config{Credentials: credentials}, func(t *testing.T, _ *fakecluster.Cluster, _ *node) {
		time.Sleep(time.Minute)
		if calls.Load() > 9*70 {
			t.Errorf("asked %d times in a minute", calls.Load())
		}
	})
}

// TestPasswordChanged: when nothing can log in any more, callers are told why, and the servers are not flooded.
func TestPasswordChanged(t *testing.T) {
	w := newWallet("", "pw")
	bubbled(t, fakecluster.Config{Password: "pw"}, redis.Config{Credentials: w.get}, func(t *testing.T, c *fakecluster.Cluster, n *node) {
		n.subscribe(t, transport.Topic{Name: "a"})
		w.put("", "other")
		for _, node := range c.Nodes() {
			c.KillClients(node, "all")
		}
		time.Sleep(5 * time.Second)
		hellos := c.Calls("HELLO")
		time.Sleep(time.Minute)
		// 3 nodes: publisher, subscriber and topology each, once a second at most.
		if tries := c.Calls("HELLO") - hellos; tries > 9*60 || tries < 9*20 {
			t.Errorf("%d logins were tried in a minute", tries)
		}
		if err := n.Subscribe(t.Context(), transport.Topic{Name: "b"}); !errors.Is(err, redis.ErrAuth) || !strings.Contains(err.Error(), `"b"`) {
			t.Errorf("subscribe: %v", err)
		}
		res := n.publish(t.Context(), transport.Envelope{Topic: "b", Publisher: "p", ID: "x"})
		if !errors.Is(res.Err, redis.ErrAuth) || !errors.Is(res.Err, redis.ErrTimeout) {
			t.Errorf("publish: %v", res.Err)
		}
		w.put("", "pw")
		time.Sleep(5 * time.Second)
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Errorf("%+v", res)
		}
	})
}

// TestCredentialsFail: a vault that does not answer is told by Subscribe when its caller gives up.
func TestCredentialsFail(t *testing.T) {
	w := newWallet("", "pw")
	bubbled(t, fakecluster.Config{Password: "pw"}, redis.Config{Credentials: w.get}, func(t *testing.T, c *fakecluster.Cluster, n *node) {
		noToken := errors.New("no token today")
		w.fails.Store(&noToken)
		for _, node := range c.Nodes() {
			c.KillClients(node, "all")
		}
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.Subscribe(ctx, transport.Topic{Name: "b"}); !errors.Is(err, noToken) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("subscribe: %v", err)
		}
		w.fails.Store(nil)
		n.subscribe(t, transport.Topic{Name: "b"})
	})
}
