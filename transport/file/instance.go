package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// instance is a file that is open, until it fails or is closed.
type instance struct {
	path         string
	db           *store.DB
	st           *state
	writer       *writer
	sinks        *sinks.Dispatcher
	capabilities transport.LogCapabilities
	closed       atomic.Bool
}

// openInstance opens a file. Its sinks are called through d.
func openInstance(path string, config Config, d *sinks.Dispatcher) (*instance, error) {
	db, err := store.Open(path)
	if err != nil {
		return nil, fmt.Errorf("file: open: %w", err)
	}
	st, err := load(db)
	if err != nil {
		_ = db.Close() // what went wrong before is what is told
		return nil, fmt.Errorf("file: open %s: %w", path, err)
	}
	l := &instance{path: path, db: db, st: st, writer: newWriter(db, st, time.Duration(max(0, config.Sync))), sinks: d, capabilities: config.capabilities()}
	go l.writer.run() // ends with shut, which waits for it
	return l, nil
}

// shut closes the file, once all that is under way is done.
func (l *instance) shut() error {
	l.closed.Store(true)
	return errors.Join(l.writer.close(), l.db.Close())
}

// LogCapabilities says what the file does.
func (l *instance) LogCapabilities() transport.LogCapabilities { return l.capabilities }

// ready is why a call can't be.
func (l *instance) ready(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := l.writer.broken(); err != nil {
		return err
	}
	if l.closed.Load() {
		return fmt.Errorf("file: %w", transport.ErrClosed)
	}
	return nil
}

// do has the writer do an op.
func (l *instance) do(ctx context.Context, o *op) (any, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	return l.writer.do(ctx, o)
}

// alone has the writer run something in a transaction of its own.
func (l *instance) alone(ctx context.Context, run func(*session) (any, error)) (any, error) {
	return l.do(ctx, &op{run: run, alone: true})
}

// Open makes the topic or checks it.
func (l *instance) Open(ctx context.Context, config transport.LogTopic) (transport.TopicState, error) {
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
func (l *instance) opened(config transport.LogTopic) (transport.TopicState, bool) {
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
func (l *instance) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
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
func (l *instance) Sync(ctx context.Context) error {
	_, err := l.do(ctx, &op{run: func(*session) (any, error) { return nil, nil }})
	return err
}

// Cancel removes an event that waits.
func (l *instance) Cancel(ctx context.Context, topic, id string) (bool, error) {
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
func (l *instance) Topics(ctx context.Context) ([]transport.LogTopic, error) {
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
func (l *instance) DeleteTopic(ctx context.Context, name string) error {
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
