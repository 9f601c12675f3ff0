package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/publisher"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber"
	"go.uber.org/zap"
)

// Transport carries the events of one bus through Redis. It implements transport.Transport. Open
// makes one; its methods may be called concurrently.
type Transport struct {
	cfg        Config
	classes    connkey.Classes // which connections carry which topics
	log        *zap.Logger
	topology   *cluster.Topology
	publisher  *publisher.Publisher
	subscriber *subscriber.Subscriber
	health     *health
	streams    *streamlog.Log
	watching   chan struct{} // capacity 1: somebody serves the topology

	current atomic.Pointer[transport.Sink]        // of the Serve that runs, or ran last
	tree    atomic.Pointer[supervisor.Supervisor] // likewise
	claimed atomic.Bool                           // by a bus

	mu sync.Mutex
	// mu guards what follows.
	serving bool
	shards  *shards // of the Serve that runs, else nil
	closed  chan struct{}
	ended   *sync.Cond // serving became false
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Forgetter = (*Transport)(nil)
)

func newTransport(cfg Config, found cluster.Discovery) *Transport {
	t := &Transport{cfg: cfg, classes: cfg.classes(), log: cfg.Logger, closed: make(chan struct{}), watching: make(chan struct{}, 1)}
	t.cfg.servers.Reauther = conn.NewReauther()
	if t.cfg.sentinels != nil {
		t.cfg.sentinels.Reauther = t.cfg.servers.Reauther
	}
	t.topology = cluster.NewTopology(t.cfg.topology, found, t.topologyChanged)
	t.ended = sync.NewCond(&t.mu)
	t.health = newHealth()
	t.publisher = publisher.New(t.publisherSettings(), t.topology)
	t.topology.OnNodeState, t.topology.OnPoll = t.publisher.NodeReports, t.onPoll
	t.subscriber = subscriber.New(t.subscriberSettings())
	var nobody transport.Sink = discard{}
	t.current.Store(&nobody)
	t.streams = t.newLog()
	return t
}

// discard is the sink before the first Serve, when nothing arrives.
type discard struct{}

func (discard) Deliver(*transport.Envelope) {}
func (discard) Gap(transport.Gap)           {}

// Capabilities returns the name "redis", Config.MaxPayload, and Config.Repair.Age. With Repair.Off that
// is as long all the same: a topic that is made again by then goes on with its numbers, so that
// subscribers know one publisher, and not many.
func (t *Transport) Capabilities() transport.Capabilities {
	return transport.Capabilities{Name: "redis", MaxPayload: t.cfg.MaxPayload, Remembers: t.cfg.Repair.Age}
}

// Serve runs the transport until ctx ends, and then returns nil; or until Close, and then returns
// an error that wraps transport.ErrClosed. Faults of servers do not end it. At the end, events that
// were not accepted yet fail with transport.ErrClosed, and subscribers are told the last number of
// each channel.
//
// A second Serve at the same time fails with transport.ErrInUse. When it is called again
// afterwards, what was subscribed becomes live by itself.
func (t *Transport) Serve(ctx context.Context, sink transport.Sink) error {
	tree, err := t.begin(sink)
	if err != nil {
		return err
	}
	defer t.end()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var watcher sync.WaitGroup
	ended := make(chan struct{})
	watcher.Go(func() {
		select {
		case <-ctx.Done():
		case <-t.closed:
		case <-ended:
			return
		}
		t.publisher.SetEnding(true)
		t.publisher.Close(transport.ErrClosed)
		t.subscriber.Fail(transport.ErrClosed)
		stop()
	})
	err = tree.Serve(inner)
	close(ended)
	watcher.Wait()
	switch {
	case ctx.Err() != nil && err == nil:
		return nil
	case t.isClosed():
		return errors.Join(fmt.Errorf("redis: %w", transport.ErrClosed), err)
	case err == nil:
		return errors.New("redis: the transport's children ended by themselves")
	}
	return fmt.Errorf("redis: %w", err)
}

// begin builds the tree of one Serve.
func (t *Transport) begin(sink transport.Sink) (*supervisor.Supervisor, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.isClosed():
		return nil, fmt.Errorf("redis: %w", transport.ErrClosed)
	case t.serving:
		return nil, fmt.Errorf("redis: Serve is running already: %w", transport.ErrInUse)
	}
	s := newShards(t)
	children := []supervisor.Child{
		{Name: "topology", Serve: t.serveTopology},
		{Name: "clock", Serve: t.subscriber.ServeTicker},
		{Name: "repair", Serve: t.subscriber.ServeRepair},
		{Name: "logins", Serve: t.cfg.servers.Reauther.Serve},
		{Name: "shards", Serve: s.serve},
		{Name: "health", Serve: t.serveHealth},
	}
	tree, err := supervisor.New(
		supervisor.Spec{Name: "redis", MaxRestarts: supervisor.Unlimited, Backoff: restartBackoff, OnEvent: t.onEvent}, children...)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	s.tree, s.running, s.leaving = tree, make(map[string]bool), make(map[string]time.Time)
	t.serving, t.shards = true, s
	t.current.Store(&sink)
	t.tree.Store(tree)
	t.publisher.SetEnding(false)
	t.publisher.Open()
	return tree, nil
}

func (t *Transport) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.serving, t.shards = false, nil
	t.ended.Broadcast()
}

// topologyChanged brings everything to where the new snapshot says.
func (t *Transport) topologyChanged(changes router.Changes) {
	t.publisher.ApplyTopology()
	t.subscriber.TopologyChanged(changes)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shards != nil {
		t.shards.signal()
	}
}

// Tree lists what runs: the topology watcher and, for each primary, its publisher and subscriber;
// with Config.Standby for each replica too. Before the first Serve it is empty. What is not
// connected, or whose channels are not confirmed, is starting.
func (t *Transport) Tree() supervisor.Tree {
	if tree := t.tree.Load(); tree != nil {
		return t.markStarting(tree.Tree())
	}
	return supervisor.Tree{Name: "redis"}
}

// Close ends the transport for good, a running Serve included, and waits for it. Everything fails
// with transport.ErrClosed afterwards. Calling it again does nothing.
func (t *Transport) Close() error {
	t.closeTopics()
	return t.streams.Close() // not under t.mu: the log may be what serves the topology
}

// closeTopics ends what concerns ephemeral topics.
func (t *Transport) closeTopics() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.isClosed() {
		close(t.closed)
		t.publisher.Close(transport.ErrClosed)
		t.subscriber.Fail(transport.ErrClosed)
	}
	for t.serving {
		t.ended.Wait()
	}
}

func (t *Transport) isClosed() bool {
	select {
	case <-t.closed:
		return true
	default:
		return false
	}
}
