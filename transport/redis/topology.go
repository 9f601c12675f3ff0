package redis

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"go.uber.org/zap"
)

const (
	quietPoll   = time.Second            // how often the topology is asked for when nothing is wrong, ±25%
	suspectPoll = 15 * time.Millisecond  // and while something is
	suspectFor  = 2 * time.Second        // how long a suspicion lasts that nobody repeats
	hintEvery   = 250 * time.Millisecond // a hint so soon after the last is dropped
	askedAtOnce = 8                      // nodes asked in one round, so that large clusters are not flooded
	viewExpires = 5 * time.Second        // a view that was not renewed counts no more
	askTimeout  = 500 * time.Millisecond // for one node's answer
)

// topology keeps the current view of the cluster. Anyone may read it at any time.
type topology struct {
	cfg     *Config
	log     *zap.Logger
	cluster bool // false: it never changes

	snapshot atomic.Pointer[router.Snapshot]
	suspects chan struct{}        // capacity 1: somebody has reason to doubt the snapshot
	hints    chan struct{}        // capacity 1: somebody has reason to look, once
	changed  func(router.Changes) // called after each new snapshot
}

func newTopology(cfg *Config, found discovery, changed func(router.Changes)) *topology {
	t := &topology{cfg: cfg, log: cfg.Logger, cluster: found.cluster, suspects: make(chan struct{}, 1), hints: make(chan struct{}, 1), changed: changed}
	t.snapshot.Store(found.snapshot)
	return t
}

// owner returns the address of the primary of a slot; empty if there is none.
func (t *topology) owner(slot int) string {
	node, _ := t.snapshot.Load().Primary(slot)
	return node.Addr
}

// suspect asks for a fresh view now and frequent ones for a while. It never blocks.
func (t *topology) suspect() {
	select {
	case t.suspects <- struct{}{}:
	default:
	}
}

// hint asks for a fresh view now, at most once a hintEvery. It never blocks. What gives the hint is most often no fault.
func (t *topology) hint() {
	select {
	case t.hints <- struct{}{}:
	default:
	}
}

// serve watches until ctx ends. Only its own goroutine touches the watch.
func (t *topology) serve(ctx context.Context) error {
	if !t.cluster {
		<-ctx.Done()
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	w := watch{topology: t, nodes: make(map[string]*asker), answers: make(chan answer)}
	defer w.close()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var suspectUntil, hinted time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-w.answers:
			w.take(a)
			continue
		case <-t.suspects:
			if fresh := time.Now().After(suspectUntil); !fresh {
				suspectUntil = time.Now().Add(suspectFor)
				continue // the timer runs fast already
			}
			suspectUntil = time.Now().Add(suspectFor)
		case <-t.hints:
			if time.Since(hinted) < hintEvery {
				continue
			}
			hinted = time.Now()
		case <-timer.C:
		}
		w.ask(ctx)
		next := quietPoll*3/4 + rand.N(quietPoll/2)
		if time.Now().Before(suspectUntil) {
			next = suspectPoll*3/4 + rand.N(suspectPoll/2)
		}
		timer.Reset(next)
	}
}

// watch is one incarnation of the watcher.
type watch struct {
	*topology
	nodes   map[string]*asker
	answers chan answer
	running sync.WaitGroup // askers at work
}

// asker is a node that is asked, with a connection of its own, so that a node that hangs delays no other.
type asker struct {
	addr   string
	client rueidis.Client // nil: not connected; touched by the goroutine at work only, which busy says there is
	busy   bool

	view  nodeView
	heard time.Time
}

type answer struct {
	asker *asker
	view  nodeView
	err   error
}

// ask sends a few nodes, drawn at random, the question.
func (w *watch) ask(ctx context.Context) {
	w.refreshNodes()
	asked := 0
	for _, a := range w.nodes { // the order of a map is random
		if asked == askedAtOnce {
			return
		}
		if a.busy {
			continue
		}
		asked++
		a.busy = true
		w.running.Go(func() {
			view, err := w.askOne(ctx, a)
			select {
			case w.answers <- answer{asker: a, view: view, err: err}:
			case <-ctx.Done():
			}
		})
	}
}

func (w *watch) askOne(ctx context.Context, a *asker) (nodeView, error) {
	if a.client == nil {
		client, err := w.cfg.dial(a.addr, nameTopology)
		if err != nil {
			return nodeView{}, err
		}
		a.client = client
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	view, err := askView(ctx, a.client, a.addr)
	if err != nil {
		a.client.Close()
		a.client = nil
	}
	return view, err
}

// refreshNodes lists the nodes of the snapshot and the start addresses, and drops those that left.
func (w *watch) refreshNodes() {
	wanted := make(map[string]bool)
	for _, addr := range w.cfg.Addrs {
		wanted[addr] = true
	}
	for _, shard := range w.snapshot.Load().Shards() {
		wanted[shard.Primary.Addr] = true
		for _, r := range shard.Replicas {
			wanted[r.Addr] = true
		}
	}
	for addr := range wanted {
		if w.nodes[addr] == nil {
			w.nodes[addr] = &asker{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.busy {
			delete(w.nodes, addr)
			if a.client != nil {
				a.client.Close()
			}
		}
	}
}

// take takes in an answer, and publishes the topology if it is another one now.
func (w *watch) take(a answer) {
	a.asker.busy = false
	if a.err != nil {
		w.log.Debug("redis: no topology from node", zap.String("addr", a.asker.addr), zap.Error(a.err))
		return
	}
	now := time.Now()
	known := now.Sub(a.asker.heard) < viewExpires && a.asker.view.equal(a.view)
	a.asker.view, a.asker.heard = a.view, now
	if known && !w.expired(now) {
		return
	}
	var views []nodeView
	for _, n := range w.nodes {
		if len(n.view.claims) > 0 {
			views = append(views, n.view)
		}
	}
	if len(views) == 0 {
		return // nobody knows of any slot: keep what we have
	}
	after, err := settleClaims(views)
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	before := w.snapshot.Load()
	changes := router.Diff(before, after)
	if changes.Empty() {
		return
	}
	w.snapshot.Store(after)
	w.log.Info("redis: topology changed", zap.Int("shards", after.Len()), zap.Int("slots", after.Covered()))
	w.changed(changes)
}

// expired drops views that are too old, and reports whether there were any.
func (w *watch) expired(now time.Time) bool {
	found := false
	for _, n := range w.nodes {
		if len(n.view.claims) > 0 && now.Sub(n.heard) >= viewExpires {
			n.view = nodeView{}
			found = true
		}
	}
	return found
}

// close waits for the askers, whose context has ended, and closes the connections.
func (w *watch) close() {
	w.running.Wait()
	for _, a := range w.nodes {
		if a.client != nil {
			a.client.Close()
		}
	}
}
