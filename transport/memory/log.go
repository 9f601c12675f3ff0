package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// Log keeps durable topics in memory, for tests: all is gone with the process. It tells time by
// package time, so it works in a synctest bubble. Safe for concurrent use.
//
// Each bus needs a Log of its own; those of one NewLog and its Connects share what is kept. Leases
// have no time: they end when they are released, revoked and not given back, or when their Log is
// closed or its bus ends. So to Close a Log is what the death of a process is to another log.
type Log struct {
	store   *logStore
	sinks   *sinks.Dispatcher
	wake    chan struct{} // has room for one: the background work may have changed
	ended   chan struct{} // closed by Close
	serving sync.WaitGroup

	// store.mu guards what follows.
	closed, taken, served bool
}

// logStore is what the Logs of one NewLog share.
type logStore struct {
	incarnations atomic.Uint64 // numbers them

	mu sync.Mutex
	// mu guards what follows, and all that is kept below it. It is never held while a sink is
	// called, nor while a Log waits.
	topics   map[string]*logTopic
	schedule schedule
	logs     map[*Log]struct{} // that are served
	last     time.Time         // the clock never goes back
}

var (
	_ transport.Log     = (*Log)(nil)
	_ transport.Claimer = (*Log)(nil)
)

// NewLog makes an empty log.
func NewLog() *Log {
	return (&logStore{topics: make(map[string]*logTopic), logs: make(map[*Log]struct{})}).connect()
}

// Connect makes a Log for one more bus, on what l keeps. It works after l was closed, too: so a
// test restarts a process.
func (l *Log) Connect() *Log { return l.store.connect() }

func (s *logStore) connect() *Log {
	return &Log{store: s, sinks: sinks.NewDispatcher(), wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// nowLocked is the time by the log's clock.
func (s *logStore) nowLocked() time.Time {
	if now := time.Now(); now.After(s.last) {
		s.last = now
	}
	return s.last
}

// LogCapabilities says that there is no limit on payloads.
func (l *Log) LogCapabilities() transport.LogCapabilities {
	return transport.LogCapabilities{Name: "memory", Shared: true, Within: true}
}

// Claim takes the log for a bus; a second bus is told to Connect.
func (l *Log) Claim() error {
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.taken {
		return fmt.Errorf("%w: each bus needs a Connect of its own", transport.ErrInUse)
	}
	l.taken = true
	return nil
}

// Release lets another bus have it. Leases that the bus has not released end as if it had died.
func (l *Log) Release() {
	l.leaveAll()
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	l.taken = false
}

// leaveAll ends all memberships of this log's bus.
func (l *Log) leaveAll() {
	l.store.mu.Lock()
	var members []*logMember
	for _, t := range l.store.topics {
		for _, c := range t.consumers {
			for _, m := range c.members {
				if m.log == l {
					members = append(members, m)
				}
			}
		}
	}
	l.store.mu.Unlock()
	for _, m := range members {
		m.leave()
	}
}

// Close ends the log, as the death of its process would. What it keeps stays for other Connects.
func (l *Log) Close() error {
	l.store.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.ended)
	}
	l.store.mu.Unlock()
	l.serving.Wait()
	l.leaveAll()
	return nil
}

// enter begins a call: it locks the store, unless the call can't be.
func (l *Log) enter(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.store.mu.Lock()
	if l.closed {
		l.store.mu.Unlock()
		return fmt.Errorf("memory: %w", transport.ErrClosed)
	}
	return nil
}

// enterTopic begins a call for a topic.
func (l *Log) enterTopic(ctx context.Context, name string) (*logTopic, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	t := l.store.topics[name]
	if t == nil {
		l.store.mu.Unlock()
		return nil, fmt.Errorf("memory: %w: %q", transport.ErrNoSuchTopic, name)
	}
	return t, nil
}

// enterConsumer begins a call for a consumer.
func (l *Log) enterConsumer(ctx context.Context, topic, name string) (*consumer, error) {
	t, err := l.enterTopic(ctx, topic)
	if err != nil {
		return nil, err
	}
	c := t.consumers[name]
	if c == nil {
		l.store.mu.Unlock()
		return nil, fmt.Errorf("memory: %w: %q of topic %q", transport.ErrNoSuchConsumer, name, topic)
	}
	return c, nil
}

// Open makes the topic or checks it.
func (l *Log) Open(ctx context.Context, topic transport.LogTopic) (transport.TopicState, error) {
	if err := topic.Validate(); err != nil {
		return transport.TopicState{}, fmt.Errorf("memory: open: %w", err)
	}
	if err := l.enter(ctx); err != nil {
		return transport.TopicState{}, err
	}
	defer l.store.mu.Unlock()
	t := l.store.topics[topic.Name]
	if t == nil {
		t = l.store.newTopic(topic)
		l.store.topics[topic.Name] = t
	}
	if err := t.config.Matches(topic); err != nil {
		return transport.TopicState{}, fmt.Errorf("memory: open: %w", err)
	}
	t.config = topic
	l.store.notifyLocked() // perhaps less is retained
	return t.state(), nil
}

// Topics lists the topics.
func (l *Log) Topics(ctx context.Context) ([]transport.LogTopic, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	defer l.store.mu.Unlock()
	var topics []transport.LogTopic
	for _, name := range slices.Sorted(maps.Keys(l.store.topics)) {
		topics = append(topics, l.store.topics[name].config)
	}
	return topics, nil
}

// DeleteTopic removes a topic that nobody consumes.
func (l *Log) DeleteTopic(ctx context.Context, topic string) error {
	t, err := l.enterTopic(ctx, topic)
	if err != nil {
		return err
	}
	defer l.store.mu.Unlock()
	for _, c := range t.consumers {
		if len(c.members) > 0 {
			return fmt.Errorf("memory: delete topic %q: %w: %s consumes it", topic, transport.ErrInUse, c.name)
		}
	}
	delete(l.store.topics, topic)
	l.store.schedule.forget(t)
	return nil
}
