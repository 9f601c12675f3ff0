package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	resolveEvery = 5 * time.Second // how often an address is dialled anew, since its name may lead elsewhere by now
	resolveAgain = time.Second     // likewise, while it leads to a replica
	roleEvery    = time.Second     // how often a connection asks whether its server is the primary still, ±25%
)

// errOtherServer is why a connection is left whose address leads to another primary by now.
var errOtherServer = errors.New("the address leads to another server now")

// loneWatch asks the servers of Config.Addrs what they are, where there is neither a cluster nor a sentinel to say it. A
// connection that is open proves nothing: its server may be a replica since, and the name may lead to another.
type loneWatch struct {
	*topology
	nodes    map[string]*asker[serverRole]
	silent   map[string]time.Time // since when an address does not answer
	identity loneIdentity         // of the address in use
	roles    loneRoles            // likewise
	untold   bool                 // it was told that a server does not say what it is
	running  sync.WaitGroup       // askers at work
}

// lone is what a loneWatch found of the address in use.
type lone struct {
	addr    string
	run     string // of the server to which it leads; empty: that is not known
	replica bool
}

func newLoneWatch(t *topology) *loneWatch {
	w := &loneWatch{topology: t, nodes: make(map[string]*asker[serverRole]), silent: make(map[string]time.Time)}
	for _, addr := range t.cfg.Addrs {
		w.nodes[addr] = &asker[serverRole]{addr: addr}
	}
	return w
}

// loneClient is a connection that is used to ask for a role.
type loneClient struct {
	rueidis.CoreClient
	close func()
	role  *roleAsker
	since time.Time // it was made
	met   bool      // its server was asked
}

// Close closes the connection.
func (l *loneClient) Close() { l.close() }

func (w *loneWatch) ask(ctx context.Context, answers chan<- func()) {
	for _, a := range w.nodes {
		if a.begin(time.Now()) {
			w.running.Go(func() {
				role, err := w.askOne(ctx, a)
				if err != nil {
					a.hangUp()
				}
				answer(ctx, answers, func() { w.take(a, role, err) })
			})
		}
	}
}

func (w *loneWatch) askOne(ctx context.Context, a *asker[serverRole]) (serverRole, error) {
	if c, open := a.conn.(*loneClient); open {
		if age := time.Since(c.since); age > resolveEvery || a.view.replica && age > resolveAgain {
			a.hangUp()
		}
	}
	if a.conn == nil {
		client, err := w.cfg.dial(ctx, a.addr, nameTopology)
		if err != nil {
			return serverRole{}, err
		}
		a.conn = &loneClient{CoreClient: client, close: client.Close, role: askerOf(client), since: time.Now()}
	}
	c := a.conn.(*loneClient)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if c.met {
		return c.role.again(ctx)
	}
	c.met = true
	return c.role.identify(ctx)
}

// take takes in what a server says of itself.
func (w *loneWatch) take(a *asker[serverRole], role serverRole, err error) {
	now := time.Now()
	a.done(now, role, err)
	if err == nil {
		delete(w.silent, a.addr)
	} else {
		w.log.Debug("redis: no answer about its role", zap.String("addr", a.addr), zap.Error(err))
		if w.silent[a.addr].IsZero() {
			w.silent[a.addr] = now
		}
	}
	held := w.owner(0)
	servers := make([]loneServer, len(w.cfg.Addrs))
	for i, addr := range w.cfg.Addrs {
		n := w.nodes[addr]
		servers[i] = loneServer{addr: addr, role: n.view, answer: n.fresh(now), silent: w.silent[addr]}
	}
	if chosen := chooseLone(held, servers, now); chosen != held {
		w.change(held, chosen)
	}
	w.note(now)
}

// change makes another address the one in use.
func (w *loneWatch) change(from, to string) {
	after, err := loneSnapshot(to, w.cfg.Addrs)
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	w.log.Warn("redis: another address has the primary", zap.String("old_addr", from), zap.String("addr", to))
	w.identity, w.roles = loneIdentity{}, loneRoles{}
	w.replace(after)
}

// note says what is known of the address in use, for those who have connections to it.
func (w *loneWatch) note(now time.Time) {
	held := w.owner(0)
	n := w.nodes[held]
	switch {
	case n == nil || !n.fresh(now):
		w.lone.Store(nil)
		return
	case !n.view.known:
		w.lone.Store(nil)
		if !w.untold {
			w.untold = true
			w.log.Warn("redis: the server does not say whether it is a primary, so that a replica would be taken for one; allow it INFO or ROLE",
				zap.String("addr", held))
		}
		return
	case n.view.replica:
		w.suspect() // it is asked often until that is over
		became, turns := w.roles.meet(now, true)
		if became {
			w.log.Warn("redis: the server is a replica: it is left, and looked for elsewhere", zap.String("addr", held), zap.String("primary_addr", n.view.of))
		}
		if turns {
			w.log.Warn("redis: the address leads to the primary and to replicas in turn: each new connection is tried until it is one to the primary; name that alone",
				zap.String("addr", held), zap.String("primary_addr", n.view.of))
		}
		w.lone.Store(&lone{addr: held, run: n.view.run, replica: true})
		return
	}
	w.roles.meet(now, false)
	moved, several := w.identity.meet(now, n.view.run)
	if moved {
		w.log.Warn("redis: the address leads to another primary now", zap.String("addr", held))
	}
	if several {
		w.log.Warn("redis: the address leads to several servers in turn, so that one that was replaced cannot be told by its identity", zap.String("addr", held))
	}
	w.lone.Store(&lone{addr: held, run: w.identity.run})
}

func (w *loneWatch) close() {
	w.running.Wait()
	for _, a := range w.nodes {
		a.hangUp()
	}
}

// isLone reports whether there is neither a cluster nor a sentinel to say who the primary is.
func (t *topology) isLone() bool { return !t.cluster && !t.cfg.Sentinel.used() }

// stray returns why a connection to a server is to be left, by what is known of its address; nil if it is not.
func (t *topology) stray(addr string, role serverRole) error {
	if err := role.err(addr); err != nil {
		return err
	}
	l := t.lone.Load()
	switch {
	case l == nil || l.addr != addr || l.run == "" || role.run == "":
		return nil
	case l.replica && l.run == role.run:
		return serverRole{replica: true}.err(addr)
	case !l.replica && l.run != role.run:
		return fmt.Errorf("redis: %s: %w", addr, errOtherServer)
	}
	return nil
}

// untilRole is how long a connection waits until it asks again whether its server is the primary.
func untilRole() time.Duration { return roleEvery*3/4 + rand.N(roleEvery/2) }

// watchRole asks over a subscriber's connection, or looks at what is known of its server where it may not, until ctx ends.
// It returns why the connection is to be left.
func (t *topology) watchRole(ctx context.Context, addr string, r *roleAsker, mayAsk bool) error {
	timer := time.NewTimer(untilRole())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		role := serverRole{run: r.run}
		if mayAsk {
			asking, cancel := context.WithTimeout(ctx, subscribeTimeout)
			said, err := r.again(asking)
			cancel()
			if err == nil {
				role = said
			} // else whoever watches for silence says so
		}
		if err := t.stray(addr, role); err != nil {
			return err
		}
		timer.Reset(untilRole())
	}
}
