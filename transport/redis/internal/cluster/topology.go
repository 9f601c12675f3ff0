package cluster

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

const (
	pollInterval    = time.Second            // how often the topology is asked for when nothing is wrong, ±25%
	SuspectInterval = 15 * time.Millisecond  // and while something is
	suspectFor      = 2 * time.Second        // how long a suspicion lasts that nobody repeats
	hintEvery       = 250 * time.Millisecond // a hint so soon after the last is dropped
	maxPolls        = 8                      // nodes asked in one round, so that large clusters are not flooded
	viewExpiry      = 5 * time.Second        // a view that was not renewed counts no more
	noChange        = time.Hour              // a timer that nothing is due for
	pollTimeout     = 500 * time.Millisecond // for one node's answer
)

// Topology keeps the current view of the cluster. Anyone may read it at any time.
type Topology struct {
	cfg     *Settings
	log     *zap.Logger
	cluster bool // false: one primary has all slots

	snapshot   atomic.Pointer[router.Snapshot]
	standalone atomic.Pointer[standaloneState] // of the address in use where there is neither a cluster nor a sentinel; nil: nothing is known
	suspects   chan struct{}                   // capacity 1: somebody has reason to doubt the snapshot
	hints      chan struct{}                   // capacity 1: somebody has reason to look, once
	onChange   func(router.Changes)            // called after each new snapshot
	// OnNodeState is told what a node says of itself: whether it is cut off.
	OnNodeState func(addr string, failing bool)
	// OnPoll is called whenever the nodes are asked: about every second, and more often while
	// something is wrong.
	OnPoll func(now time.Time)

	changeLog       changeLog       // only serve touches it
	sentinelPrimary SentinelPrimary // with sentinels, the primary that the snapshot has. Only serve touches it
}

// NewTopology returns the topology that was found; changed is called after each new snapshot, by
// Serve.
func NewTopology(cfg *Settings, found Discovery, changed func(router.Changes)) *Topology {
	t := &Topology{
		cfg: cfg, log: cfg.Logger, cluster: found.Cluster, suspects: make(chan struct{}, 1), hints: make(chan struct{}, 1),
		onChange: changed, sentinelPrimary: found.primary, OnNodeState: func(string, bool) {}, OnPoll: func(time.Time) {},
	}
	t.snapshot.Store(found.Snapshot)
	return t
}

// Owner returns the address of the primary of a slot; empty if there is none.
func (t *Topology) Owner(slot int) string {
	node, _ := t.snapshot.Load().Primary(slot)
	return node.Addr
}

// Suspect asks for a fresh view now and frequent ones for a while. It never blocks.
func (t *Topology) Suspect() {
	select {
	case t.suspects <- struct{}{}:
	default:
	}
}

// Hint asks for a fresh view now, at most once a hintEvery. It never blocks. What gives the hint is
// most often no fault.
func (t *Topology) Hint() {
	select {
	case t.hints <- struct{}{}:
	default:
	}
}

// watcher asks servers who is where. Only the goroutine of topology.serve calls it.
type watcher interface {
	// poll begins a round of questions. What is to be done with an answer is sent on answers, until
	// ctx ends.
	poll(ctx context.Context, answers chan<- func())
	// close waits for the questions under way, whose context has ended, and closes the connections.
	close()
}

// watcher returns the one for the servers that there are.
func (t *Topology) watcher() watcher {
	switch {
	case t.cluster:
		return &clusterWatcher{Topology: t, nodes: make(map[string]*poller[NodeView])}
	case t.cfg.Sentinels != nil:
		return newSentinelWatcher(t)
	}
	return newStandaloneWatcher(t)
}

// Serve watches until ctx ends.
func (t *Topology) Serve(ctx context.Context) error {
	w := t.watcher()
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan func())
	defer w.close()
	defer cancel()
	timer := time.NewTimer(conn.Promptly)
	defer timer.Stop()
	defer t.logChange(true)
	settled := time.NewTimer(noChange)
	defer settled.Stop()
	var suspectUntil, hinted time.Time
	for {
		if wait, due := t.changeLog.due(); due {
			settled.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-settled.C:
			t.logChange(false)
			continue
		case take := <-answers:
			take()
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
		w.poll(ctx, answers)
		t.OnPoll(time.Now())
		next := pollInterval*3/4 + rand.N(pollInterval/2)
		if time.Now().Before(suspectUntil) {
			next = SuspectInterval*3/4 + rand.N(SuspectInterval/2)
		}
		timer.Reset(next)
	}
}

// replace makes after the topology, if it is another one.
func (t *Topology) replace(after *router.Snapshot) {
	changes := router.Diff(t.snapshot.Load(), after)
	if changes.Empty() {
		return
	}
	t.changeLog.record(t.snapshot.Load())
	t.snapshot.Store(after)
	t.onChange(changes)
}

// IsPrimary reports whether a node is a primary in the snapshot.
func (t *Topology) IsPrimary(addr string) bool {
	snapshot := t.snapshot.Load()
	i, known := snapshot.NodeShard(addr)
	if !known {
		return false
	}
	shard, _ := snapshot.Shard(i)
	return shard.Primary.Addr == addr
}

// Snapshot returns the current view. It never changes.
func (t *Topology) Snapshot() *router.Snapshot { return t.snapshot.Load() }

// Shard returns the index of the shard that a node belongs to.
func (t *Topology) Shard(addr string) (shard int, known bool) {
	return t.snapshot.Load().NodeShard(addr)
}

// Replicas returns the addresses of the replicas, by their primary's; nil without Standby.
func (t *Topology) Replicas() map[string][]string {
	if !t.cfg.Standby {
		return nil
	}
	found := make(map[string][]string)
	for _, shard := range t.snapshot.Load().Shards() {
		for _, r := range shard.Replicas {
			found[shard.Primary.Addr] = append(found[shard.Primary.Addr], r.Addr)
		}
	}
	return found
}
