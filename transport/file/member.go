package file

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// member is the bus's membership of a consumer. It outlives a failure of the log.
type member struct {
	log     *Log
	config  transport.ConsumerConfig
	queue   *sinks.Queue
	current atomic.Pointer[instanceMember]
}

var _ transport.Consumer = (*member)(nil)

// Consume joins a consumer, or makes it.
func (l *Log) Consume(ctx context.Context, config transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	if err := (transport.Topic{Name: config.Name}).Validate(); err != nil {
		return nil, fmt.Errorf("file: consume: %w", err)
	}
	m := &member{log: l, config: config, queue: l.sinks.Queue(sink)}
	joined, err := l.current.Load().join(ctx, m.membership())
	if err != nil {
		return nil, err
	}
	m.current.Store(joined)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.members[m] = struct{}{}
	return m, nil
}

// membership is a new one for m.
func (m *member) membership() *membership { return &membership{config: m.config, queue: m.queue} }

// leave ends the membership.
func (m *member) leave() error {
	m.log.mu.Lock()
	delete(m.log.members, m)
	m.log.mu.Unlock()
	return m.current.Load().leave()
}

// Close leaves the consumer.
func (m *member) Close(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.leave()
}

// Fetch reads events.
func (m *member) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
	return m.current.Load().Fetch(ctx, l, after, maxEvents, maxBytes)
}

// Load reads deferred events.
func (m *member) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
	return m.current.Load().Load(ctx, l, refs)
}

// Begin counts a start. It always waits for the disk.
func (m *member) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (int, error) {
	return m.current.Load().Begin(ctx, l, ref)
}

// Commit settles events. See [Sync] for when it returns.
func (m *member) Commit(ctx context.Context, l transport.Lease, c transport.Commit) error {
	return m.current.Load().Commit(ctx, l, c)
}

// Release gives a lease back.
func (m *member) Release(ctx context.Context, l transport.Lease) error {
	return m.current.Load().Release(ctx, l)
}

// errReopened is why leases end when the file is opened again.
var errReopened = fmt.Errorf("file: %w: %w, and was opened again", transport.ErrFenced, transport.ErrLogFailed)

// reopen opens the file again if it has failed, and has its consumers assigned new leases.
func (l *Log) reopen(ctx context.Context) error {
	current := l.current.Load()
	if current.writer.broken() != nil {
		_ = current.shut() // whatever else is wrong with it, it is opened again
		var err error
		if current, err = openInstance(l.path, l.config, l.sinks); err != nil {
			return err
		}
		l.current.Store(current)
	}
	var errs []error
	for _, m := range l.joined() {
		if m.current.Load().log != current {
			errs = append(errs, m.rejoin(ctx, current))
		}
	}
	return errors.Join(errs...)
}

// rejoin ends the leases of a membership in an instance that has failed, and joins in the new one.
// Who was leaving stays away.
func (m *member) rejoin(ctx context.Context, current *instance) error {
	old := m.current.Load()
	old.log.st.mu.Lock()
	left := old.leaving
	old.closed = true
	for _, at := range old.consumer.parts {
		if held := at.lease; held != nil && !held.ended {
			held.ended = true
			m.queue.Lost(held.Lease, errReopened, nil)
		}
	}
	old.log.st.mu.Unlock()
	if left {
		return nil
	}
	joined, err := current.join(ctx, m.membership())
	if err != nil {
		return err
	}
	m.current.Store(joined)
	return nil
}
