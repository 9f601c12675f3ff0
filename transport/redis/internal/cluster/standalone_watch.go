package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

const (
	resolveEvery = 5 * time.Second // how often an address is dialled anew, since its name may lead elsewhere by now
	resolveAgain = time.Second     // likewise, while it leads to a replica
	roleEvery    = time.Second     // how often a connection asks whether its server is the primary still, ±25%
)

// roleTimeout bounds a question for a role on a connection on which other things arrive.
const roleTimeout = 30 * time.Second

// errOtherServer is why a connection is left whose address leads to another primary by now.
var errOtherServer = errors.New("the address leads to another server now")

// standaloneWatcher asks the servers of Config.Addrs what they are, where there is neither a
// cluster nor a sentinel to say it. A connection that is open proves nothing: its server may be a
// replica since, and the name may lead to another.
type standaloneWatcher struct {
	*Topology
	nodes        map[string]*poller[conn.ServerRole]
	silent       map[string]time.Time // since when an address does not answer
	identity     addressIdentity      // of the address in use
	roles        addressRoles         // likewise
	warnedNoRole bool                 // it was told that a server does not say what it is
	polls        sync.WaitGroup       // polls at work
}

// standaloneState is what a standaloneWatcher found of the address in use.
type standaloneState struct {
	addr    string
	run     string // of the server to which it leads; empty: that is not known
	replica bool
}

func newStandaloneWatcher(t *Topology) *standaloneWatcher {
	w := &standaloneWatcher{Topology: t, nodes: make(map[string]*poller[conn.ServerRole]), silent: make(map[string]time.Time)}
	for _, addr := range t.cfg.Addrs {
		w.nodes[addr] = &poller[conn.ServerRole]{addr: addr}
	}
	return w
}

// roleConn is a connection that is used to ask for a role.
type roleConn struct {
	rueidis.CoreClient
	close      func()
	role       *conn.RoleQuery
	since      time.Time // it was made
	identified bool      // its server was asked
}

// Close closes the connection.
func (l *roleConn) Close() { l.close() }

func (w *standaloneWatcher) poll(ctx context.Context, answers chan<- func()) {
	for _, a := range w.nodes {
		if a.begin(time.Now()) {
			w.polls.Go(func() {
				role, err := w.pollOne(ctx, a)
				if err != nil {
					a.closeConn()
				}
				deliverAnswer(ctx, answers, func() { w.receive(a, role, err) })
			})
		}
	}
}

func (w *standaloneWatcher) pollOne(ctx context.Context, a *poller[conn.ServerRole]) (conn.ServerRole, error) {
	if c, open := a.conn.(*roleConn); open {
		if age := time.Since(c.since); age > resolveEvery || a.view.Replica && age > resolveAgain {
			a.closeConn()
		}
	}
	if a.conn == nil {
		client, err := w.cfg.Servers.Dial(ctx, a.addr, conn.NameTopology)
		if err != nil {
			return conn.ServerRole{}, err
		}
		a.conn = &roleConn{CoreClient: client, close: client.Close, role: conn.NewRoleQuery(client), since: time.Now()}
	}
	c := a.conn.(*roleConn)
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if c.identified {
		return c.role.Again(ctx)
	}
	c.identified = true
	return c.role.Identify(ctx)
}

// receive takes in what a server says of itself.
func (w *standaloneWatcher) receive(a *poller[conn.ServerRole], role conn.ServerRole, err error) {
	now := time.Now()
	a.finish(now, role, err)
	if err == nil {
		delete(w.silent, a.addr)
	} else {
		w.log.Debug("redis: no answer about its role", zap.String("addr", a.addr), zap.Error(err))
		if w.silent[a.addr].IsZero() {
			w.silent[a.addr] = now
		}
	}
	held := w.Owner(0)
	servers := make([]standaloneServer, len(w.cfg.Addrs))
	for i, addr := range w.cfg.Addrs {
		n := w.nodes[addr]
		servers[i] = standaloneServer{addr: addr, role: n.view, answers: n.fresh(now), silentSince: w.silent[addr]}
	}
	if chosen := chooseStandalone(held, servers, now); chosen != held {
		w.change(held, chosen)
	}
	w.publish(now)
}

// change makes another address the one in use.
func (w *standaloneWatcher) change(from, to string) {
	after, err := StandaloneSnapshot(to, w.cfg.Addrs)
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	w.log.Warn("redis: another address has the primary", zap.String("old_addr", from), zap.String("addr", to))
	w.identity, w.roles = addressIdentity{}, addressRoles{}
	w.replace(after)
}

// publish says what is known of the address in use, for those who have connections to it.
func (w *standaloneWatcher) publish(now time.Time) {
	held := w.Owner(0)
	n := w.nodes[held]
	switch {
	case n == nil || !n.fresh(now):
		w.standalone.Store(nil)
		return
	case !n.view.Known:
		w.standalone.Store(nil)
		if !w.warnedNoRole {
			w.warnedNoRole = true
			w.log.Warn("redis: the server does not say whether it is a primary, so a replica would be taken for one; allow INFO or ROLE",
				zap.String("addr", held))
		}
		return
	case n.view.Replica:
		w.Suspect() // it is asked often until that is over
		became, turns := w.roles.observe(now, true)
		if became {
			w.log.Warn("redis: the server is a replica: the transport leaves it and looks for the primary", zap.String("addr", held), zap.String("primary_addr", n.view.Primary))
		}
		if turns {
			w.log.Warn("redis: the address leads to the primary and to replicas in turn: new connections are made until one reaches the primary; use an address that leads only to the primary",
				zap.String("addr", held), zap.String("primary_addr", n.view.Primary))
		}
		w.standalone.Store(&standaloneState{addr: held, run: n.view.RunID, replica: true})
		return
	}
	w.roles.observe(now, false)
	moved, several := w.identity.observe(now, n.view.RunID)
	if moved {
		w.log.Warn("redis: the address leads to another primary now", zap.String("addr", held))
	}
	if several {
		w.log.Warn("redis: the address leads to several servers in turn, so a replaced server cannot be recognised by its run ID", zap.String("addr", held))
	}
	w.standalone.Store(&standaloneState{addr: held, run: w.identity.run})
}

func (w *standaloneWatcher) close() {
	w.polls.Wait()
	for _, a := range w.nodes {
		a.closeConn()
	}
}

// IsStandalone reports whether there is neither a cluster nor a sentinel to say who the primary is.
func (t *Topology) IsStandalone() bool { return !t.cluster && t.cfg.Sentinels == nil }

// CheckServer returns why a connection to a server is to be left, by what is known of its address;
// nil if it is not.
func (t *Topology) CheckServer(addr string, role conn.ServerRole) error {
	if err := role.Err(addr); err != nil {
		return err
	}
	l := t.standalone.Load()
	switch {
	case l == nil || l.addr != addr || l.run == "" || role.RunID == "":
		return nil
	case l.replica && l.run == role.RunID:
		return conn.ServerRole{Replica: true}.Err(addr)
	case !l.replica && l.run != role.RunID:
		return fmt.Errorf("redis: %s: %w", addr, errOtherServer)
	}
	return nil
}

// RoleInterval is how long a connection waits until it asks again whether its server is the
// primary.
func RoleInterval() time.Duration { return roleEvery*3/4 + rand.N(roleEvery/2) }

// WatchRole asks over a subscriber's connection, or looks at what is known of its server where it
// may not, until ctx ends. It returns why the connection is to be left.
func (t *Topology) WatchRole(ctx context.Context, addr string, r *conn.RoleQuery, mayAsk bool) error {
	timer := time.NewTimer(RoleInterval())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		role := conn.ServerRole{RunID: r.RunID}
		if mayAsk {
			asking, cancel := context.WithTimeout(ctx, roleTimeout)
			said, err := r.Again(asking)
			cancel()
			if err == nil {
				role = said
			} // else whoever watches for silence says so
		}
		if err := t.CheckServer(addr, role); err != nil {
			return err
		}
		timer.Reset(RoleInterval())
	}
}

// RoleOf asks a server for its role where neither a cluster nor sentinels say who the primary is,
// and returns what asks again; nil where they do. An error says why the connection is not to be
// used.
func (t *Topology) RoleOf(ctx context.Context, addr string, client rueidis.CoreClient) (*conn.RoleQuery, error) {
	if !t.IsStandalone() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Servers.CommandTimeout)
	defer cancel()
	query := conn.NewRoleQuery(client)
	role, err := query.Identify(ctx)
	if err == nil {
		return query, role.Err(addr)
	}
	return nil, fmt.Errorf("redis: role of %s: %w", addr, t.cfg.Servers.Explain(err))
}
