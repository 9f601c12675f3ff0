package redis

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// watch asks the nodes of a cluster.
type watch struct {
	*topology
	nodes   map[string]*asker[nodeView]
	memory  memory
	dropped bool           // a node left whose view may have decided something
	running sync.WaitGroup // askers at work
}

// ask sends a few nodes, drawn at random, the question.
func (w *watch) ask(ctx context.Context, answers chan<- func()) {
	w.refreshNodes()
	asked := 0
	for _, a := range w.nodes { // the order of a map is random
		if asked == askedAtOnce {
			return
		}
		if a.begin(time.Now()) {
			asked++
			w.running.Go(func() {
				view, err := w.askOne(ctx, a)
				if err != nil {
					a.hangUp()
				}
				answer(ctx, answers, func() { w.take(a, view, err) })
			})
		}
	}
}

func (w *watch) askOne(ctx context.Context, a *asker[nodeView]) (nodeView, error) {
	if a.conn == nil {
		client, err := w.cfg.dial(ctx, a.addr, nameTopology)
		if err != nil {
			return nodeView{}, err
		}
		a.conn = client
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return askView(ctx, a.conn, a.addr, w.cfg.Standby)
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
			w.nodes[addr] = &asker[nodeView]{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.busy {
			delete(w.nodes, addr)
			w.dropped = true
			a.hangUp()
		}
	}
}

// take takes in an answer, and publishes the topology if it is another one now.
func (w *watch) take(a *asker[nodeView], view nodeView, err error) {
	now := time.Now()
	before, known := a.view, a.fresh(now)
	a.done(now, view.at(now), err)
	if err != nil {
		w.log.Debug("redis: no topology from node", zap.String("addr", a.addr), zap.Error(err))
		if !known {
			return
		}
	} else if w.says(a.addr, view.failing); known && before.equal(view) && !w.expired(now) && !w.dropped && !w.memory.kept {
		return // that it was said again changes nothing
	}
	w.dropped = false
	var fresh []*asker[nodeView]
	for _, n := range w.nodes {
		if n.fresh(now) {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return // nobody says anything: keep what we have
	}
	// Of claims that are the same but for the replicas, the first counts: the latest heard.
	slices.SortFunc(fresh, func(a, b *asker[nodeView]) int { return cmp.Or(b.heard.Compare(a.heard), cmp.Compare(a.addr, b.addr)) })
	views := make([]nodeView, len(fresh))
	for i, n := range fresh {
		views[i] = n.view
	}
	winners := w.memory.settle(views)
	if winners.empty() {
		return // nobody knows of any slot: likewise
	}
	after, err := winners.snapshot()
	if err != nil {
		w.log.Warn("redis: unusable topology", zap.Error(err))
		return
	}
	w.replace(after)
}

// expired reports whether a view was dropped because it was not renewed.
func (w *watch) expired(now time.Time) bool {
	found := false
	for _, n := range w.nodes {
		if !n.heard.IsZero() && !n.fresh(now) {
			n.heard, found = time.Time{}, true
		}
	}
	return found
}

func (w *watch) close() {
	w.running.Wait()
	for _, a := range w.nodes {
		a.hangUp()
	}
}
