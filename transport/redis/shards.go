package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"go.uber.org/zap"
)

// restarts is the back-off of what has a connection: quick at first, because most faults are short, and never so slow
// that a server that is back waits for us.
var restartBackoff = supervisor.Backoff{Min: 5 * time.Millisecond, Max: 500 * time.Millisecond, Jitter: 0.5, ResetAfter: 250 * time.Millisecond}

const (
	// retryShards is when a primary is tried again that could not be added or removed.
	shardRetry = 20 * time.Millisecond
	// handOver is how long a node that is no primary any more may still deliver: as a replica it hears what the new
	// primary gets, so it is left only when the subscriptions are confirmed there.
	handoverTimeout = 2 * time.Second
)

// shards keeps a child running for each primary that has slots, and with Config.Standby for their replicas.
type shards struct {
	t       *Transport
	tree    *supervisor.Supervisor
	changed chan struct{} // capacity 1: there is a new snapshot

	running  map[string]bool      // touched by serve only
	leaving  map[string]time.Time // since when a child is not wanted any more; likewise
	removals sync.WaitGroup
}

func newShards(t *Transport) *shards {
	return &shards{t: t, changed: make(chan struct{}, 1)}
}

func (s *shards) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// serve adds and removes children as the topology changes. The children are its siblings: they go on when it fails.
func (s *shards) serve(ctx context.Context) error {
	defer s.removals.Wait()
	for {
		var retry <-chan time.Time
		if !s.reconcile(ctx) {
			retry = time.After(shardRetry)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.changed:
		case <-retry:
		}
	}
}

// reconcile reports whether nothing is left to do.
func (s *shards) reconcile(ctx context.Context) bool {
	wanted := make(map[string]bool)
	for _, shard := range s.t.topology.Snapshot().Shards() {
		if len(shard.Slots) > 0 {
			wanted[shard.Primary.Addr] = true
			for _, r := range shard.Replicas {
				wanted[r.Addr] = wanted[r.Addr] || s.t.cfg.Standby
			}
		}
	}
	complete := true
	for addr, is := range wanted {
		if !is || s.running[addr] {
			continue
		}
		child, err := s.t.shard(addr)
		if err == nil {
			err = s.tree.Add(child)
		}
		switch {
		case err == nil:
			s.running[addr] = true
		case errors.Is(err, supervisor.ErrStopping):
			return true
		default: // it is being removed still
			s.t.log.Debug("redis: shard not started yet", zap.String("addr", addr), zap.Error(err))
			complete = false
		}
	}
	for addr := range s.running {
		if wanted[addr] {
			delete(s.leaving, addr)
			continue
		}
		if s.leaving[addr].IsZero() {
			s.leaving[addr] = time.Now()
		}
		if s.t.subscriber.ReceivesFrom(addr) && time.Since(s.leaving[addr]) < handoverTimeout {
			complete = false
			continue
		}
		delete(s.running, addr)
		delete(s.leaving, addr)
		// Removing waits for the child, which may be talking to a server that hangs. Nobody else shall wait.
		s.removals.Go(func() {
			err := s.tree.Remove(ctx, childName(addr))
			if err != nil && !errors.Is(err, supervisor.ErrUnknown) && !errors.Is(err, supervisor.ErrStopping) {
				s.t.log.Warn("redis: shard not removed", zap.String("addr", addr), zap.Error(err))
			}
		})
	}
	return complete
}

func childName(addr string) string { return "shard " + addr }

// Each node has these children, and each dedicated topic two more of its own: see topicPrefix.
const (
	publisherName  = "publisher"
	subscriberName = "subscriber"
)

// topicPrefix is what names of a class begin with: nothing, or which topic they are dedicated to.
func (t *Transport) topicPrefix(class connkey.Class) string {
	if class == connkey.Ordinary {
		return ""
	}
	return "topic " + t.classes.Topic(class) + ": "
}

// shard returns the child for a node: a supervisor of the writers and readers of all classes, which fail independently.
func (t *Transport) shard(addr string) (supervisor.Child, error) {
	var children []supervisor.Child
	for class := range t.classes.All() {
		key, k := connkey.Key{Addr: addr, Class: class}, control.NewPeer()
		children = append(children,
			supervisor.Child{Name: t.topicPrefix(class) + publisherName, Serve: func(ctx context.Context) error {
				return t.health.watched(key, publisherOf, func(up func()) error { return t.publisher.Serve(ctx, key, k, up) })
			}},
			supervisor.Child{Name: t.topicPrefix(class) + subscriberName, Serve: func(ctx context.Context) error {
				return t.health.watched(key, subscriberOf, func(up func()) error { return t.subscriber.Serve(ctx, key, k, up) })
			}},
		)
	}
	tree, err := supervisor.New(
		supervisor.Spec{Name: childName(addr), MaxRestarts: supervisor.Unlimited, Backoff: restartBackoff, OnEvent: t.onEvent}, children...)
	if err != nil {
		return supervisor.Child{}, fmt.Errorf("redis: shard %s: %w", addr, err)
	}
	return supervisor.Child{Name: childName(addr), Serve: tree.Serve, Tree: tree.Tree, Grace: supervisor.Forever, Backoff: restartBackoff}, nil
}

// onEvent logs what fails. A server that stays away fails twice a second for each child: that is told once at Info.
func (t *Transport) onEvent(e supervisor.Event) {
	switch {
	case e.Kind == supervisor.EventExited && e.Err != nil:
		t.log.Debug("redis: connection ended, it will be made again", zap.String("child", e.Path), zap.Error(e.Err))
	case e.Kind == supervisor.EventBackoff && e.Delay <= restartBackoff.Min:
		t.log.Info("redis: connection ended, it will be made again", zap.String("child", e.Path), zap.Error(e.Err))
	}
}
