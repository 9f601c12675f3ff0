package redis

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
	quietPoll   = time.Second            // how often the topology is asked for when nothing is wrong, ±25%
	suspectPoll = 15 * time.Millisecond  // and while something is
	suspectFor  = 2 * time.Second        // how long a suspicion lasts that nobody repeats
	hintEvery   = 250 * time.Millisecond // a hint so soon after the last is dropped
	askedAtOnce = 8                      // nodes asked in one round, so that large clusters are not flooded
	viewExpires = 5 * time.Second        // a view that was not renewed counts no more
	noChange    = time.Hour              // a timer that nothing is due for
	askTimeout  = 500 * time.Millisecond // for one node's answer
)

// topology keeps the current view of the cluster. Anyone may read it at any time.
type topology struct {
	cfg     *Config
	log     *zap.Logger
	cluster bool // false: one primary has all slots

	snapshot   atomic.Pointer[router.Snapshot]
	standalone atomic.Pointer[standaloneState] // of the address in use where there is neither a cluster nor a sentinel; nil: nothing is known
	suspects   chan struct{}                   // capacity 1: somebody has reason to doubt the snapshot
	hints      chan struct{}                   // capacity 1: somebody has reason to look, once
	onChange   func(router.Changes)            // called after each new snapshot
	// onNodeState is told what a node says of itself: whether it is cut off.
	onNodeState func(addr string, failing bool)
	// onPoll is called whenever the nodes are asked: about every second, and more often while something is wrong.
	onPoll func(now time.Time)

	changeLog       changeLog       // only serve touches it
	sentinelPrimary sentinelPrimary // with sentinels, the primary that the snapshot has. Only serve touches it
}

func newTopology(cfg *Config, found discovery, changed func(router.Changes)) *topology {
	t := &topology{
		cfg: cfg, log: cfg.Logger, cluster: found.cluster, suspects: make(chan struct{}, 1), hints: make(chan struct{}, 1),
		onChange: changed, sentinelPrimary: found.primary, onNodeState: func(string, bool) {}, onPoll: func(time.Time) {},
	}
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

// watcher asks servers who is where. Only the goroutine of topology.serve calls it.
type watcher interface {
	// ask begins a round of questions. What is to be done with an answer is sent on answers, until ctx ends.
	ask(ctx context.Context, answers chan<- func())
	// close waits for the questions under way, whose context has ended, and closes the connections.
	close()
}

// watcher returns the one for the servers that there are.
func (t *topology) watcher() watcher {
	switch {
	case t.cluster:
		return &clusterWatcher{topology: t, nodes: make(map[string]*poller[nodeView])}
	case t.cfg.Sentinel.used():
		return newSentinelWatcher(t)
	}
	return newStandaloneWatcher(t)
}

// serve watches until ctx ends.
func (t *topology) serve(ctx context.Context) error {
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
		w.ask(ctx, answers)
		t.onPoll(time.Now())
		next := quietPoll*3/4 + rand.N(quietPoll/2)
		if time.Now().Before(suspectUntil) {
			next = suspectPoll*3/4 + rand.N(suspectPoll/2)
		}
		timer.Reset(next)
	}
}

// replace makes after the topology, if it is another one.
func (t *topology) replace(after *router.Snapshot) {
	changes := router.Diff(t.snapshot.Load(), after)
	if changes.Empty() {
		return
	}
	t.changeLog.record(t.snapshot.Load())
	t.snapshot.Store(after)
	t.onChange(changes)
}

// isPrimary reports whether a node is a primary in the snapshot.
func (t *topology) isPrimary(addr string) bool {
	snapshot := t.snapshot.Load()
	i, known := snapshot.NodeShard(addr)
	if !known {
		return false
	}
	shard, _ := snapshot.Shard(i)
	return shard.Primary.Addr == addr
}
