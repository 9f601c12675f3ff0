package cluster

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

// sentinelWatcher asks all sentinels who the primary is, often while there is reason for doubt and
// whenever one of them tells of a change, and believes whom they name when it says itself that it
// is one.
type sentinelWatcher struct {
	*Topology
	sentinels *conn.Settings
	nodes     map[string]*poller[SentinelView]

	verifying bool
	refused   map[string]time.Time // primaries that refuse our login are left alone until then
	polls     sync.WaitGroup       // polls and verifiers at work
}

func newSentinelWatcher(t *Topology) *sentinelWatcher {
	return &sentinelWatcher{
		Topology: t, sentinels: t.cfg.Sentinels,
		nodes: make(map[string]*poller[SentinelView]), refused: make(map[string]time.Time),
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
	_ = client.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(rueidis.PubSubMessage) { w.Suspect() }})
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Servers.CommandTimeout)
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

func (w *sentinelWatcher) poll(ctx context.Context, answers chan<- func()) {
	w.refreshNodes()
	for _, a := range w.nodes {
		if a.begin(time.Now()) {
			w.polls.Go(func() {
				view, err := w.pollOne(ctx, a)
				if err != nil {
					a.closeConn()
				}
				deliverAnswer(ctx, answers, func() { w.receive(ctx, answers, a, view, err) })
			})
		}
	}
}

func (w *sentinelWatcher) pollOne(ctx context.Context, a *poller[SentinelView]) (SentinelView, error) {
	if a.conn == nil {
		conn, err := w.subscribeChanges(ctx, a.addr)
		if err != nil {
			return SentinelView{}, err
		}
		a.conn = conn
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	view, err := FetchSentinelView(ctx, a.conn, a.addr, w.cfg.Primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", a.addr, w.sentinels.Explain(err))
	}
	return view, nil
}

// refreshNodes lists the sentinels of the config, and those that they know of, and drops others.
func (w *sentinelWatcher) refreshNodes() {
	wanted := make(map[string]bool)
	met := make(map[string]bool) // IDs of those that answer
	for _, addr := range w.cfg.SentinelAddrs {
		wanted[addr] = true
		if a := w.nodes[addr]; a != nil && !a.answeredAt.IsZero() {
			met[a.view.ID] = true
		}
	}
	for _, v := range w.views(time.Now()) {
		for id, addr := range v.Others {
			if !met[id] {
				wanted[addr] = true
			}
		}
	}
	for addr := range wanted {
		if w.nodes[addr] == nil {
			w.nodes[addr] = &poller[SentinelView]{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.polling {
			delete(w.nodes, addr)
			a.closeConn()
		}
	}
}

func (w *sentinelWatcher) views(now time.Time) []SentinelView {
	var views []SentinelView
	for _, n := range w.nodes {
		if n.fresh(now) {
			views = append(views, n.view)
		}
	}
	return views
}

// receive takes in what a sentinel said.
func (w *sentinelWatcher) receive(ctx context.Context, answers chan<- func(), a *poller[SentinelView], view SentinelView, err error) {
	now := time.Now()
	a.finish(now, view, err)
	if err != nil {
		w.log.Debug("redis: no answer from sentinel", zap.String("addr", a.addr), zap.Error(err))
		return
	}
	list := Candidates(w.views(now), w.sentinelPrimary)
	if i := slices.IndexFunc(list, func(c SentinelPrimary) bool { return c.Addr == w.sentinelPrimary.Addr }); i == 0 {
		w.accept(list[0])
		return
	} else if i > 0 {
		list = list[:i] // whoever is less believable than what we have is not asked
	}
	list = slices.DeleteFunc(list, func(c SentinelPrimary) bool { return now.Before(w.refused[c.Addr]) })
	if len(list) == 0 || w.verifying {
		return
	}
	w.verifying = true
	w.polls.Go(func() {
		found, errs := w.verify(ctx, list)
		deliverAnswer(ctx, answers, func() { w.verified(list, found, errs) })
	})
}

// verify returns the index of the first candidate that says that it is a primary; -1 if none does.
// errs are those of the candidates before.
func (w *sentinelWatcher) verify(ctx context.Context, list []SentinelPrimary) (found int, errs []error) {
	for i, c := range list {
		err := verifyPrimary(ctx, w.cfg.Servers, c.Addr)
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
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	if err := isPrimary(ctx, conn); err != nil {
		return fmt.Errorf("redis: ROLE on %s: %w", addr, c.Explain(err))
	}
	return nil
}

// verified takes in who of the candidates is a primary.
func (w *sentinelWatcher) verified(list []SentinelPrimary, found int, errs []error) {
	w.verifying = false
	for i, err := range errs {
		w.log.Debug("redis: the primary that the sentinels name is not trusted yet", zap.String("addr", list[i].Addr), zap.Error(err))
		switch {
		case conn.IsAuthError(err):
			w.refused[list[i].Addr] = time.Now().Add(conn.RefusedDelay())
			w.log.Warn("redis: the new primary refuses us", zap.String("addr", list[i].Addr), zap.Error(err))
		case errors.Is(err, context.Canceled):
		default:
			w.Suspect() // soon
		}
	}
	if found >= 0 {
		w.accept(list[found])
	}
}

// accept makes a candidate the primary, if it is not, and its replicas known.
func (w *sentinelWatcher) accept(c SentinelPrimary) {
	if w.sentinelPrimary.Addr == c.Addr && w.sentinelPrimary.epoch == c.epoch && slices.Equal(w.sentinelPrimary.Replicas, c.Replicas) {
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

// askSentinels asks all sentinels once, and returns the topology with the primary that they name.
// It waits for all of them, so that one that was cut off is not the only one heard; one that hangs
// costs CommandTimeout.
func (c *Settings) askSentinels(ctx context.Context) (SentinelPrimary, error) {
	reach := c.Sentinels
	var mu sync.Mutex
	var views []SentinelView
	var errs []error
	var running sync.WaitGroup
	for _, addr := range c.SentinelAddrs {
		running.Go(func() {
			view, err := fetchSentinelViewOnce(ctx, reach, addr, c.Primary)
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
		return SentinelPrimary{}, errors.Join(errs...)
	}
	errs = nil
	for _, found := range Candidates(views, SentinelPrimary{}) {
		err := verifyPrimary(ctx, c.Servers, found.Addr)
		if err == nil {
			return found, nil
		}
		errs = append(errs, err)
	}
	return SentinelPrimary{}, fmt.Errorf("%w: %q: %w", conn.ErrNoPrimary, c.Primary, errors.Join(errs...))
}

// fetchSentinelViewOnce asks a sentinel on a connection of its own.
func fetchSentinelViewOnce(ctx context.Context, c *conn.Settings, addr, primary string) (SentinelView, error) {
	conn, err := c.Dial(ctx, addr, conn.NameOpen)
	if err != nil {
		return SentinelView{}, err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, c.CommandTimeout)
	defer cancel()
	view, err := FetchSentinelView(ctx, conn, addr, primary)
	if err != nil {
		return view, fmt.Errorf("redis: sentinel %s: %w", addr, c.Explain(err))
	}
	return view, nil
}
