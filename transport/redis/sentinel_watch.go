package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// sentinelWatcher asks all sentinels who the primary is, often while there is reason for doubt and whenever one of them
// tells of a change, and believes whom they name when it says itself that it is one.
type sentinelWatcher struct {
	*topology
	sentinels *conn.Settings
	nodes     map[string]*poller[sentinelView]

	verifying bool
	refused   map[string]time.Time // primaries that refuse our login are left alone until then
	polls     sync.WaitGroup       // askers and verifiers at work
}

func newSentinelWatcher(t *topology) *sentinelWatcher {
	return &sentinelWatcher{
		topology: t, sentinels: t.cfg.sentinels,
		nodes: make(map[string]*poller[sentinelView]), refused: make(map[string]time.Time),
	}
}

// sentinelEvents are what sentinels tell of that is reason to ask them.
var sentinelEvents = []string{"+switch-master", "+promoted-slave", "+config-update-from", "+odown", "-odown", "+reboot"}

// notifyingConn is a connection to a sentinel that tells us of changes, too.
type notifyingConn struct {
	rueidis.DedicatedClient
	close func()
}

// Close closes the connection.
func (t notifyingConn) Close() { t.close() }

// subscribeChanges connects to a sentinel and has it tell of changes.
func (w *sentinelWatcher) subscribeChanges(ctx context.Context, addr string) (rueidis.CoreClient, error) {
	client, _, closeConn, err := w.sentinels.DialDedicated(ctx, addr, conn.NameTopology)
	if err != nil {
		return nil, err
	}
	// The channel closes with the connection, which the next question finds out.
	_ = client.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) { w.suspect() }})
	ctx, cancel := context.WithTimeout(ctx, w.cfg.CommandTimeout)
	defer cancel()
	if err := client.Do(ctx, client.B().Subscribe().Channel(sentinelEvents...).Build()).Error(); err != nil {
		if conn.Classify(err) != conn.ReplyDenied {
			closeConn()
			return nil, fmt.Errorf("redis: sentinel %s: %w", addr, w.sentinels.Explain(err))
		}
		// It is asked every second all the same.
		w.log.Warn("redis: a sentinel does not allow subscribing, so fail-overs are noticed up to a second later",
			zap.String("addr", addr), zap.Strings("channels", sentinelEvents), zap.Error(err))
	}
	return notifyingConn{DedicatedClient: client, close: closeConn}, nil
}

func (w *sentinelWatcher) ask(ctx context.Context, answers chan<- func()) {
	w.refreshNodes()
	for _, a := range w.nodes {
		if a.begin(time.Now()) {
			w.polls.Go(func() {
				view, err := w.askOne(ctx, a)
				if err != nil {
					a.closeConn()
				}
				deliverAnswer(ctx, answers, func() { w.take(ctx, answers, a, view, err) })
			})
		}
	}
}

func (w *sentinelWatcher) askOne(ctx context.Context, a *poller[sentinelView]) (sentinelView, error) {
	if a.conn == nil {
		conn, err := w.subscribeChanges(ctx, a.addr)
		if err != nil {
			return sentinelView{}, err
		}
		a.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := askSentinel(ctx, a.conn, a.addr, w.cfg.Sentinel.Primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", a.addr, w.sentinels.Explain(err))
	}
	return view, nil
}

// refreshNodes lists the sentinels of the config, and those that they know of, and drops others.
func (w *sentinelWatcher) refreshNodes() {
	wanted := make(map[string]bool)
	met := make(map[string]bool) // IDs of those that answer
	for _, addr := range w.cfg.Sentinel.Addrs {
		wanted[addr] = true
		if a := w.nodes[addr]; a != nil && !a.answeredAt.IsZero() {
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
			w.nodes[addr] = &poller[sentinelView]{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.polling {
			delete(w.nodes, addr)
			a.closeConn()
		}
	}
}

func (w *sentinelWatcher) views(now time.Time) []sentinelView {
	var views []sentinelView
	for _, n := range w.nodes {
		if n.fresh(now) {
			views = append(views, n.view)
		}
	}
	return views
}

// take takes in what a sentinel said.
func (w *sentinelWatcher) take(ctx context.Context, answers chan<- func(), a *poller[sentinelView], view sentinelView, err error) {
	now := time.Now()
	a.finish(now, view, err)
	if err != nil {
		w.log.Debug("redis: no answer from sentinel", zap.String("addr", a.addr), zap.Error(err))
		return
	}
	list := candidates(w.views(now), w.sentinelPrimary)
	if i := slices.IndexFunc(list, func(c sentinelPrimary) bool { return c.addr == w.sentinelPrimary.addr }); i == 0 {
		w.accept(list[0])
		return
	} else if i > 0 {
		list = list[:i] // whoever is less believable than what we have is not asked
	}
	list = slices.DeleteFunc(list, func(c sentinelPrimary) bool { return now.Before(w.refused[c.addr]) })
	if len(list) == 0 || w.verifying {
		return
	}
	w.verifying = true
	w.polls.Go(func() {
		found, errs := w.verify(ctx, list)
		deliverAnswer(ctx, answers, func() { w.verified(list, found, errs) })
	})
}

// verify returns the index of the first candidate that says that it is a primary; -1 if none does. errs are those of the
// candidates before.
func (w *sentinelWatcher) verify(ctx context.Context, list []sentinelPrimary) (found int, errs []error) {
	for i, c := range list {
		err := verifyPrimary(ctx, w.cfg.servers, c.addr)
		if err == nil {
			return i, errs
		}
		errs = append(errs, err)
	}
	return -1, errs
}

// verifyPrimary asks the server at addr whether it is a primary.
func verifyPrimary(ctx context.Context, c *conn.Settings, addr string) error {
	conn, err := c.Dial(ctx, addr, conn.NameTopology)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := isPrimary(ctx, conn); err != nil {
		return fmt.Errorf("redis: ROLE on %s: %w", addr, c.Explain(err))
	}
	return nil
}

// verified takes in who of the candidates is a primary.
func (w *sentinelWatcher) verified(list []sentinelPrimary, found int, errs []error) {
	w.verifying = false
	for i, err := range errs {
		w.log.Debug("redis: the primary that the sentinels name is not trusted yet", zap.String("addr", list[i].addr), zap.Error(err))
		switch {
		case conn.IsAuthError(err):
			w.refused[list[i].addr] = time.Now().Add(conn.RefusedDelay())
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
func (w *sentinelWatcher) accept(c sentinelPrimary) {
	if w.sentinelPrimary.addr == c.addr && w.sentinelPrimary.epoch == c.epoch && slices.Equal(w.sentinelPrimary.replicas, c.replicas) {
		return
	}
	after, err := c.snapshot()
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	w.sentinelPrimary = c
	w.replace(after)
}

func (w *sentinelWatcher) close() {
	w.polls.Wait()
	for _, a := range w.nodes {
		a.closeConn()
	}
}

// askSentinels asks all sentinels once, and returns the topology with the primary that they name. It waits for all of
// them, so that one that was cut off is not the only one heard; one that hangs costs CommandTimeout.
func (c *Config) askSentinels(ctx context.Context) (sentinelPrimary, error) {
	reach := c.sentinels
	var mu sync.Mutex
	var views []sentinelView
	var errs []error
	var running sync.WaitGroup
	for _, addr := range c.Sentinel.Addrs {
		running.Go(func() {
			view, err := askSentinelOnce(ctx, reach, addr, c.Sentinel.Primary)
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
		return sentinelPrimary{}, errors.Join(errs...)
	}
	errs = nil
	for _, found := range candidates(views, sentinelPrimary{}) {
		err := verifyPrimary(ctx, c.servers, found.addr)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return sentinelPrimary{}, fmt.Errorf("%w: %q: %w", ErrNoPrimary, c.Sentinel.Primary, errors.Join(errs...))
}

// askSentinelOnce asks a sentinel on a connection of its own.
func askSentinelOnce(ctx context.Context, c *conn.Settings, addr, primary string) (sentinelView, error) {
	conn, err := c.Dial(ctx, addr, conn.NameOpen)
	if err != nil {
		return sentinelView{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.CommandTimeout)
	defer cancel()
	view, err := askSentinel(ctx, conn, addr, primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", addr, c.Explain(err))
	}
	return view, nil
}
