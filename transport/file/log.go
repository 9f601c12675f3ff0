// Package file keeps durable topics in one file, of one process. Nothing has to be installed, and
// nothing runs beside the application.
//
// The file is one of bbolt, so it is never half written: what was acknowledged is there after a
// kill and after a power cut, see [Sync]. One process has it open at a time. It must lie on a disk
// of the machine: network file systems are not supported. To copy it while it is open use
// [Log.Backup], and nothing else: a copy that cp makes meanwhile may lack events, or not open at
// all. The file does not become smaller by itself; [Compact] makes a small one of it.
package file

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// Log is an open file. It serves one bus at a time. Safe for concurrent use.
type Log struct {
	path         string
	db           *store.DB
	st           *state
	writer       *writer
	sinks        *sinks.Dispatcher
	capabilities transport.LogCapabilities
	ended        chan struct{} // closed by Close
	serving      sync.WaitGroup
	closing      sync.Once
	closeErr     error

	mu      sync.Mutex
	claimed bool // guarded by mu
	served  bool // guarded by mu
	closed  bool // guarded by mu
}

var (
	_ transport.Log       = (*Log)(nil)
	_ transport.Claimer   = (*Log)(nil)
	_ transport.LogSyncer = (*Log)(nil)
)

// Open opens the file at path, and makes it if there is none. The errors of a file that can't be
// used say what to do: one that another process has open (ErrInUse, with that process), one of a
// newer version (ErrNewerFormat), one that is damaged or truncated (ErrLogFailed), one that is
// empty or of another program.
func Open(path string, config Config) (*Log, error) {
	db, err := store.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	st, err := load(db)
	if err != nil {
		_ = db.Close() // what went wrong before is what is told
		return nil, fmt.Errorf("file: open %s: %w", path, err)
	}
	l := &Log{
		path: path, db: db, st: st, writer: newWriter(db, st, time.Duration(max(0, config.Sync))), sinks: sinks.NewDispatcher(),
		capabilities: config.capabilities(), ended: make(chan struct{}),
	}
	go l.writer.run() // ends with Close, which waits for it
	return l, nil
}

// LogCapabilities says what the file does.
func (l *Log) LogCapabilities() transport.LogCapabilities { return l.capabilities }

// Claim takes the log for a bus.
func (l *Log) Claim() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimed {
		return fmt.Errorf("file: %w: %s", transport.ErrInUse, l.path)
	}
	l.claimed = true
	return nil
}

// Release lets another bus have it. Leases that the bus has not released end as if it had died.
func (l *Log) Release() {
	for _, c := range l.consumed() {
		_ = l.leave(c) // a log that has failed keeps that its leases are held
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed = false
}

// Close closes the file, once all that is under way is done. Serve ends. Leases that were not
// released are found when the file is opened again, as after the death of the process.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.ended)
		l.serving.Wait()
		for _, c := range l.consumed() {
			c.member.queue.End()
		}
		l.writer.close()
		l.closeErr = l.db.Close()
	})
	return l.closeErr
}

// ready is why a call can't be.
func (l *Log) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return fmt.Errorf("file: %w", transport.ErrClosed)
	}
	return l.writer.broken()
}

// do has the writer do an op.
func (l *Log) do(ctx context.Context, o *op) (any, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	return l.writer.do(ctx, o)
}

// alone has the writer run something in a transaction of its own.
func (l *Log) alone(ctx context.Context, run func(*session) (any, error)) (any, error) {
	return l.do(ctx, &op{run: run, alone: true})
}

// Open makes the topic or checks it.
func (l *Log) Open(ctx context.Context, config transport.LogTopic) (transport.TopicState, error) {
	if err := config.Validate(); err != nil {
		return transport.TopicState{}, fmt.Errorf("file: open: %w", err)
	}
	if err := l.ready(ctx); err != nil {
		return transport.TopicState{}, err
	}
	if st, ok := l.opened(config); ok {
		return st, nil
	}
	out, err := l.alone(ctx, func(s *session) (any, error) { return s.openTopic(config) })
	st, _ := out.(transport.TopicState)
	return st, err
}

// opened is a topic that is there as it is asked for.
func (l *Log) opened(config transport.LogTopic) (transport.TopicState, bool) {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	t := l.st.topics[config.Name]
	if t == nil || t.Config != config {
		return transport.TopicState{}, false
	}
	return t.state(), true
}

// openTopic makes a topic, or changes what may change. It runs alone in its transaction.
func (s *session) openTopic(config transport.LogTopic) (transport.TopicState, error) {
	t := s.st.topics[config.Name]
	if t == nil {
		t = newTopic(record.Topic{Number: s.newNumber(), Incarnation: rand.Text(), Config: config})
		for _, p := range t.partitions {
			s.partition(p) // so it is written
		}
		s.after = append(s.after, func() { s.st.add(t) })
	} else if err := t.Config.Matches(config); err != nil {
		return transport.TopicState{}, fmt.Errorf("file: open: %w", err)
	} else {
		s.after = append(s.after, func() {
			t.Config = config
			s.st.notify()
		})
	}
	changed := t.Topic
	changed.Config = config
	s.tx.Put(store.Topics, []byte(config.Name), record.AppendTopic(changed))
	return t.state(), nil
}

// Append adds batches.
func (l *Log) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	fail := func(err error) {
		for i := range results {
			results[i] = transport.AppendResult{Err: err}
		}
	}
	if err := l.ready(ctx); err != nil {
		fail(err)
		return
	}
	o := &op{lazy: true}
	all := make([]*prepared, len(batches))
	for i := range batches {
		all[i] = prepare(&batches[i], l.capabilities)
		o.events += len(all[i].values)
		o.bytes += all[i].bytes
	}
	o.run = func(s *session) (any, error) {
		taken := make([]transport.AppendResult, len(all))
		for i, b := range all {
			taken[i] = s.append(b)
		}
		return taken, nil
	}
	out, err := l.do(ctx, o)
	if err != nil {
		fail(err)
		return
	}
	taken, _ := out.([]transport.AppendResult)
	copy(results, taken)
}

// Sync returns when all that Append and Commit have returned for is durable, see [Interval].
func (l *Log) Sync(ctx context.Context) error {
	_, err := l.do(ctx, &op{run: func(*session) (any, error) { return nil, nil }})
	return err
}

// Cancel removes an event that waits.
func (l *Log) Cancel(ctx context.Context, topic, id string) (bool, error) {
	out, err := l.do(ctx, &op{run: func(s *session) (any, error) {
		t, err := s.st.topic(topic)
		if err != nil {
			return false, err
		}
		return s.cancel(t, id), nil
	}})
	found, _ := out.(bool)
	return found, err
}

// Topics lists the topics.
func (l *Log) Topics(ctx context.Context) ([]transport.LogTopic, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	topics := make([]transport.LogTopic, 0, len(l.st.topics))
	for _, t := range l.st.topics {
		topics = append(topics, t.Config)
	}
	slices.SortFunc(topics, func(a, b transport.LogTopic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// DeleteTopic removes a topic that nobody consumes. Its events are removed in small steps, later.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	_, err := l.alone(ctx, func(s *session) (any, error) {
		t, err := s.st.topic(name)
		if err != nil {
			return nil, err
		}
		for _, c := range t.consumers {
			if c.member != nil {
				return nil, fmt.Errorf("file: delete topic %q: %w: %s consumes it", name, transport.ErrInUse, c.name)
			}
		}
		s.deleteTopic(t)
		return nil, nil
	})
	return err
}
