// Package streamlog keeps durable topics in Redis Streams: the stream of a partition is its log, and
// what groups keep lies in its slot. docs/design.md has the picture; each key and script is described
// in docs/wire.md.
//
//	log, topic        the Log, and the registry of topics
//	append, schedule  what is added, at once or when it is due, and trimmed
//	serve             the background work, and what it learns of partitions
//	consumer, lease   who reads: membership, shares, leases
//	fetch, commit     what the holder of a lease does
//	staged            what is published within an event
//	letters, position dead letters, and where consumers stand
//	encode, reply     what is kept, as bytes; what servers answer
//
// Scripts decide who is right; what a holder knows of its partition is in its memory, since nobody
// else may change it.
package streamlog

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/notify"
	"go.uber.org/zap"
)

// Settings say how the log works.
type Settings struct {
	// Prefix begins the key of the list of topics.
	Prefix string
	// Compact says whether a topic's events are kept in the compact form.
	Compact func(topic string) bool
	// MaxPayload is the largest payload in bytes.
	MaxPayload int
	// Lease is how long a holder that does not renew keeps its lease.
	Lease time.Duration
	// Poll is how often partitions are looked at.
	Poll   time.Duration
	Logger *zap.Logger
	// Watch watches the servers until its context ends, if nobody else does.
	Watch func(context.Context) error
}

// Log is a transport.Log on Redis Streams. Safe for concurrent use.
type Log struct {
	cfg     Settings
	nodes   *nodes.Client
	sinks   *sinks.Dispatcher
	notices *notify.Listener

	kick    chan struct{} // has room for one: look at partitions now
	ended   chan struct{} // closed by Close
	serving sync.WaitGroup

	mu sync.Mutex
	// mu guards what follows.
	names                 map[consumerName]*member // that consume, or are about to
	topics                map[string]*topic
	members               map[*member]struct{}
	hinted                map[*member]struct{} // to be looked at
	byChannel             map[string][]*consumerPart
	closed, taken, served bool
}

var (
	_ transport.Log     = (*Log)(nil)
	_ transport.Claimer = (*Log)(nil)
)

// New returns a log that runs its commands by client, which it closes in the end.
func New(cfg Settings, client *nodes.Client, notices notify.Settings) *Log {
	l := &Log{
		cfg: cfg, nodes: client, sinks: sinks.NewDispatcher(), kick: make(chan struct{}, 1), ended: make(chan struct{}),
		topics: make(map[string]*topic), members: make(map[*member]struct{}),
		hinted: make(map[*member]struct{}), names: make(map[consumerName]*member),
	}
	notices.Every, notices.Logger, notices.Heard, notices.Live = cfg.Poll, cfg.Logger, l.heard, l.live
	l.notices = notify.New(notices)
	return l
}

// LogCapabilities says what the log does.
func (l *Log) LogCapabilities() transport.LogCapabilities {
	return transport.LogCapabilities{Name: "redis", MaxPayload: l.cfg.MaxPayload, Shared: true, Within: true, Replicas: true, Poll: l.cfg.Poll}
}

// Claim takes the log for a bus.
func (l *Log) Claim() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken {
		return fmt.Errorf("redis: the log serves another bus: %w", transport.ErrInUse)
	}
	l.taken = true
	return nil
}

// Release lets another bus have it. Leases that the bus has not released end as if it had died.
func (l *Log) Release() {
	l.leaveAll()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = false
}

// leaveTimeout bounds what a closing log tells servers.
const leaveTimeout = 2 * time.Second

// leaveAll ends all memberships.
func (l *Log) leaveAll() {
	ctx, cancel := context.WithTimeout(l.nodes.Life(), leaveTimeout)
	defer cancel()
	l.mu.Lock()
	members := slices.Collect(maps.Keys(l.members))
	l.mu.Unlock()
	var wait sync.WaitGroup
	for _, m := range members {
		wait.Go(func() {
			if err := m.leave(ctx); err != nil {
				l.cfg.Logger.Warn("a membership could not be ended; its leases end by themselves",
					zap.String("topic", m.config.Topic), zap.String("consumer", m.config.Name), zap.Error(err))
			}
		})
	}
	wait.Wait()
}

// Close ends the log. Its leases end at once where servers can be told, else when they expire.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	if !again {
		l.closed = true
		close(l.ended)
	}
	l.mu.Unlock()
	l.serving.Wait()
	if !again {
		l.leaveAll()
		l.nodes.Close()
	}
	return nil
}

// enter begins a call.
func (l *Log) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	}
	return nil
}

// do runs one command.
func (l *Log) do(ctx context.Context, cmd nodes.Command) (rueidis.RedisMessage, error) {
	return l.nodes.Do(ctx, cmd)
}

// newToken is a name that nobody else has.
func newToken() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
