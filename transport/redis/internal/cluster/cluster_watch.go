package cluster

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// clusterWatcher asks the nodes of a cluster.
type clusterWatcher struct {
	*Topology
	nodes       map[string]*poller[NodeView]
	memory      viewMemory
	nodeDropped bool           // a node left whose view may have decided something
	polls       sync.WaitGroup // polls at work
}

// poll sends a few nodes, drawn at random, the question.
func (w *clusterWatcher) poll(ctx context.Context, answers chan<- func()) {
	w.refreshNodes()
	asked := 0
	for _, a := range w.nodes { // the order of a map is random
		if asked == maxPolls {
			return
		}
		if a.begin(time.Now()) {
			asked++
			w.polls.Go(func() {
				view, err := w.pollOne(ctx, a)
				if err != nil {
					a.closeConn()
				}
				deliverAnswer(ctx, answers, func() { w.receive(a, view, err) })
			})
		}
	}
}

func (w *clusterWatcher) pollOne(ctx context.Context, a *poller[NodeView]) (NodeView, error) {
	if a.conn == nil {
		client, err := w.cfg.Servers.Dial(ctx, a.addr, conn.NameTopology)
		if err != nil {
			return NodeView{}, err
		}
		a.conn = client
	}
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	return FetchView(ctx, a.conn, a.addr, w.cfg.Standby)
}

// refreshNodes lists the nodes of the snapshot and the start addresses, and drops those that left.
func (w *clusterWatcher) refreshNodes() {
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
			w.nodes[addr] = &poller[NodeView]{addr: addr}
		}
	}
	for addr, a := range w.nodes {
		if !wanted[addr] && !a.polling {
			delete(w.nodes, addr)
			w.nodeDropped = true
			a.closeConn()
		}
	}
}

// receive takes in an answer, and publishes the topology if it is another one now.
func (w *clusterWatcher) receive(a *poller[NodeView], view NodeView, err error) {
	now := time.Now()
	before, known := a.view, a.fresh(now)
	a.finish(now, view.heardAt(now), err)
	if err != nil {
		w.log.Debug("redis: no topology from node", zap.String("addr", a.addr), zap.Error(err))
		if !known {
			return
		}
	} else if w.OnNodeState(a.addr, view.failing); known && before.equal(view) && !w.expired(now) && !w.nodeDropped && !w.memory.keptNewer {
		return // that it was said again changes nothing
	}
	w.nodeDropped = false
	var fresh []*poller[NodeView]
	for _, n := range w.nodes {
		if n.fresh(now) {
			fresh = append(fresh, n)
		}
	}
	if len(fresh) == 0 {
		return // nobody says anything: keep what we have
	}
	// Of owners that are the same but for the replicas, the first counts: the latest heard.
	slices.SortFunc(fresh, func(a, b *poller[NodeView]) int {
		return cmp.Or(b.answeredAt.Compare(a.answeredAt), cmp.Compare(a.addr, b.addr))
	})
	views := make([]NodeView, len(fresh))
	for i, n := range fresh {
		views[i] = n.view
	}
	winners := w.memory.merge(views)
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
func (w *clusterWatcher) expired(now time.Time) bool {
	found := false
	for _, n := range w.nodes {
		if !n.answeredAt.IsZero() && !n.fresh(now) {
			n.answeredAt, found = time.Time{}, true
		}
	}
	return found
}

func (w *clusterWatcher) close() {
	w.polls.Wait()
	for _, a := range w.nodes {
		a.closeConn()
	}
}
