package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

// sentinelWatch asks all sentinels who the primary is, often while there is reason for doubt and whenever one of them
// tells of a change, and believes whom they name when it says itself that it is one.
type sentinelWatch struct {
	*topology
	reach *Config // the sentinels
	nodes map[string]*asker[sentinelView]

	verifying bool
	refused   map[string]time.Time // primaries that refuse our login are left alone until then
	running   sync.WaitGroup       // askers and verifiers at work
}

func newSentinelWatch(t *topology) *sentinelWatch {
	return &sentinelWatch{
		topology: t, reach: t.cfg.sentinels(),
		nodes: make(map[string]*asker[sentinelView]), refused: make(map[string]time.Time),
	}
}

// changes are what sentinels tell of that is reason to ask them.
var changes = []string{"+switch-master", "+promoted-slave", "+config-update-from", "+odown", "-odown", "+reboot"}

// telling is a connection to a sentinel that tells us of changes, too.
type telling struct {
	rueidis.DedicatedClient
	close func()
}

// Close closes the connection.
func (t telling) Close() { t.close() }

// tell connects to a sentinel and has it tell of changes.
func (w *sentinelWatch) tell(ctx context.Context, addr string) (rueidis.CoreClient, error) {
	conn, _, closeConn, err := w.reach.dialDedicated(ctx, addr, nameTopology)
	if err != nil {
		return nil, err
	}
	// The channel closes with the connection, which the next question finds out.
	_ = conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) { w.suspect() }})
	ctx, cancel := context.WithTimeout(ctx, w.cfg.CommandTimeout)
	defer cancel()
	if err := conn.Do(ctx, conn.B().Subscribe().Channel(changes...).Build()).Error(); err != nil {
		if judge(err) != forbidden {
			closeConn()
			return nil, fmt.Errorf("redis: sentinel %s: %w", addr, w.reach.explain(err))
		}
		// It is asked every second all the same.
		w.log.Warn("redis: a sentinel does not let us subscribe, so that fail-overs are noticed up to a second later",
			zap.String("addr", addr), zap.Strings("channels", changes), zap.Error(err))
	}
	return telling{DedicatedClient: conn, close: closeConn}, nil
}

func (w *sentinelWatch) ask(ctx context.Context, answers chan<- func()) {
	w.refreshNodes()
	for _, a := range w.nodes {
		if a.begin(time.Now()) {
			w.running.Go(func() {
				view, err := w.askOne(ctx, a)
				if err != nil {
					a.hangUp()
				}
				answer(ctx, answers, func() { w.take(ctx, answers, a, view, err) })
			})
		}
	}
}

func (w *sentinelWatch) askOne(ctx context.Context, a *asker[sentinelView]) (sentinelView, error) {
	if a.conn == nil {
		conn, err := w.tell(ctx, a.addr)
		if err != nil {
			return sentinelView{}, err
		}
		a.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := askSentinel(ctx, a.conn, a.addr, w.cfg.Sentinel.Primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", a.addr, w.reach.explain(err))
	}
	return view, nil
}

// refreshNodes lists the sentinels of the config, and those that they know of, and drops others.
func (w *sentinelWatch) refreshNodes() {
	wanted := make(map[string]bool)
	met := make(map[string]bool) // IDs of those that answer
	for _, addr := range w.cfg.Sentinel.Addrs {
		wanted[addr] = true
		if a := w.nodes[addr]; a != nil && !a.heard.IsZero() {
			met[a.view.id] = true
		}
	}
	for _, v := range w.views(time.Now()) {
		for id, addr := range v.others {
			if !met[id] {
				wanted[addr] = true
			}
		}
	}
	for addr := range wanted {
		if w.nodes[addr] == nil {
			w.nodes[addr] = &asker[sentinelView]{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.busy {
			delete(w.nodes, addr)
			a.hangUp()
		}
	}
}

func (w *sentinelWatch) views(now time.Time) []sentinelView {
	var views []sentinelView
	for _, n := range w.nodes {
		if n.fresh(now) {
			views = append(views, n.view)
		}
	}
	return views
}

// take takes in what a sentinel said.
func (w *sentinelWatch) take(ctx context.Context, answers chan<- func(), a *asker[sentinelView], view sentinelView, err error) {
	now := time.Now()
	a.done(now, view, err)
	if err != nil {
		w.log.Debug("redis: no answer from sentinel", zap.String("addr", a.addr), zap.Error(err))
		return
	}
	list := candidates(w.views(now), w.held)
	if i := slices.IndexFunc(list, func(c candidate) bool { return c.addr == w.held.addr }); i == 0 {
		w.accept(list[0])
		return
	} else if i > 0 {
		list = list[:i] // whoever is less believable than what we have is not asked
	}
	list = slices.DeleteFunc(list, func(c candidate) bool { return now.Before(w.refused[c.addr]) })
	if len(list) == 0 || w.verifying {
		return
	}
	w.verifying = true
	w.running.Go(func() {
		found, errs := w.verify(ctx, list)
		answer(ctx, answers, func() { w.verified(list, found, errs) })
	})
}

// verify returns the index of the first candidate that says that it is a primary; -1 if none does. errs are those of the
// candidates before.
func (w *sentinelWatch) verify(ctx context.Context, list []candidate) (found int, errs []error) {
	for i, c := range list {
		err := w.cfg.verify(ctx, c.addr)
		if err == nil {
			return i, errs
		}
		errs = append(errs, err)
	}
	return -1, errs
}

// verify asks the server at addr whether it is a primary.
func (c *Config) verify(ctx context.Context, addr string) error {
	conn, err := c.dial(ctx, addr, nameTopology)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := isPrimary(ctx, conn); err != nil {
		return fmt.Errorf("redis: ROLE on %s: %w", addr, c.explain(err))
	}
	return nil
}

// verified takes in who of the candidates is a primary.
func (w *sentinelWatch) verified(list []candidate, found int, errs []error) {
	w.verifying = false
	for i, err := range errs {
		w.log.Debug("redis: the sentinels' primary is not to be believed yet", zap.String("addr", list[i].addr), zap.Error(err))
		switch {
		case isRefusal(err):
			w.refused[list[i].addr] = time.Now().Add(coolDown())
			w.log.Warn("redis: the new primary refuses us", zap.String("addr", list[i].addr), zap.Error(err))
		case errors.Is(err, context.Canceled):
		default:
			w.suspect() // soon
		}
	}
	if found >= 0 {
		w.accept(list[found])
	}
}

// accept makes a candidate the primary, if it is not, and its replicas known.
func (w *sentinelWatch) accept(c candidate) {
	if w.held.addr == c.addr && w.held.epoch == c.epoch && slices.Equal(w.held.replicas, c.replicas) {
		return
	}
	after, err := c.snapshot()
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	w.held = c
	w.replace(after)
}

func (w *sentinelWatch) close() {
	w.running.Wait()
	for _, a := range w.nodes {
		a.hangUp()
	}
}

// askSentinels asks all sentinels once, and returns the topology with the primary that they name. It waits for all of
// them, so that one that was cut off is not the only one heard; one that hangs costs CommandTimeout.
func (c *Config) askSentinels(ctx context.Context) (candidate, error) {
	reach := c.sentinels()
	var mu sync.Mutex
	var views []sentinelView
	var errs []error
	var running sync.WaitGroup
	for _, addr := range reach.Addrs {
		running.Go(func() {
			view, err := reach.askSentinelOnce(ctx, addr, c.Sentinel.Primary)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			views = append(views, view)
		})
	}
	running.Wait()
	if len(views) == 0 {
		return candidate{}, errors.Join(errs...)
	}
	errs = nil
	for _, found := range candidates(views, candidate{}) {
		err := c.verify(ctx, found.addr)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return candidate{}, fmt.Errorf("%w: %q: %w", ErrNoPrimary, c.Sentinel.Primary, errors.Join(errs...))
}

// askSentinelOnce asks a sentinel on a connection of its own.
func (c *Config) askSentinelOnce(ctx context.Context, addr, primary string) (sentinelView, error) {
	conn, err := c.dial(ctx, addr, nameOpen)
	if err != nil {
		return sentinelView{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.CommandTimeout)
	defer cancel()
	view, err := askSentinel(ctx, conn, addr, primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", addr, c.explain(err))
	}
	return view, nil
}
