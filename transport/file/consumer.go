package file

import (
	"context"

	"github.com/shardbus/shardbus/transport"
)

// instanceMember is a membership in an instance: it ends with that.
type instanceMember struct {
	log *instance
	*membership
	consumer *consumer
}

// join makes m the member of a consumer, which is made if it is new.
func (l *instance) join(ctx context.Context, m *membership) (*instanceMember, error) {
	out, err := l.alone(ctx, func(s *session) (any, error) { return s.join(m) })
	c, _ := out.(*consumer)
	if err != nil {
		if c = l.joined(m); c != nil { // its context ended while it was joining
			_ = (&instanceMember{l, m, c}).leave() // what went wrong before is what is told
		}
		return nil, err
	}
	return &instanceMember{log: l, membership: m, consumer: c}, nil
}

// joined is the consumer that a membership is the member of.
func (l *instance) joined(m *membership) *consumer {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	if t := l.st.topics[m.config.Topic]; t != nil {
		if c := t.consumers[m.config.Name]; c != nil && c.member == m {
			return c
		}
	}
	return nil
}

// leave ends the membership.
func (m *instanceMember) leave() error {
	st, c := m.log.st, m.consumer
	st.mu.Lock()
	if m.closed {
		st.mu.Unlock()
		return nil
	}
	m.closed = true
	for _, at := range c.parts {
		if at.lease != nil {
			at.lease.ended = true
		}
	}
	st.mu.Unlock()
	m.queue.End()
	return m.log.writer.doAll(&op{alone: true, run: func(s *session) (any, error) {
		for _, at := range c.parts {
			if at.lease != nil {
				s.end(c, at)
			}
		}
		s.after = append(s.after, func() { c.member = nil })
		return nil, nil
	}})
}

// enter finds a lease that lives, under the state's lock. The caller unlocks it, unless there is an
// error.
func (m *instanceMember) enter(ctx context.Context, l transport.Lease) (*part, error) {
	if err := m.log.ready(ctx); err != nil {
		return nil, err
	}
	m.log.st.mu.Lock()
	if !m.closed && l.Partition >= 0 && l.Partition < len(m.consumer.parts) {
		at := m.consumer.parts[l.Partition]
		if held := at.lease; held != nil && held.Lease == l && held.member == m.membership && !held.ended {
			return at, nil
		}
	}
	m.log.st.mu.Unlock()
	return nil, fenced(m.consumer, l)
}

// lives reports why a call under a lease can't be.
func (m *instanceMember) lives(ctx context.Context, l transport.Lease) error {
	_, err := m.enter(ctx, l)
	if err == nil {
		m.log.st.mu.Unlock()
	}
	return err
}

// Begin counts a start. It always waits for the disk.
func (m *instanceMember) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (int, error) {
	if err := m.lives(ctx, l); err != nil {
		return 0, err
	}
	out, err := m.log.do(ctx, &op{run: func(s *session) (any, error) { return s.begin(m.consumer, l, ref) }})
	starts, _ := out.(int)
	return starts, err
}

// Commit settles events.
func (m *instanceMember) Commit(ctx context.Context, l transport.Lease, c transport.Commit) error {
	if err := m.lives(ctx, l); err != nil {
		return err
	}
	o := &op{lazy: true}
	commit := &preparedCommit{Commit: c}
	for i := range c.Append {
		b := prepare(&c.Append[i].Batch, m.log.capabilities)
		commit.appends = append(commit.appends, b)
		o.events += len(b.values)
		o.bytes += b.bytes
	}
	if m.log.writer.interval > 0 {
		commit.Commit = cloneCommit(c) // it is read again after it was answered
	}
	o.run = func(s *session) (any, error) { return nil, s.commit(m.consumer, l, commit) }
	_, err := m.log.do(ctx, o)
	return err
}

// Release gives a lease back.
func (m *instanceMember) Release(ctx context.Context, l transport.Lease) error {
	at, err := m.enter(ctx, l)
	if err != nil {
		return err
	}
	held := at.lease
	held.ended = true // so nothing is done under it any more
	m.log.st.mu.Unlock()
	if _, err = m.log.do(ctx, &op{run: func(s *session) (any, error) { return nil, s.release(m.consumer, l) }}); err != nil {
		m.log.st.mu.Lock()
		held.ended = false
		m.log.st.mu.Unlock()
		return err
	}
	m.queue.Release(l)
	return nil
}
