package streamlog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"go.uber.org/zap"
)

// Serve looks at partitions, hands out leases, moves what is due, trims, and calls the sinks.
func (l *Log) Serve(ctx context.Context) error {
	if err := l.begin(); err != nil {
		return err
	}
	defer l.serving.Done()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.served = false
	}()
	work, stop := context.WithCancel(ctx)
	defer stop()
	var helpers sync.WaitGroup
	helpers.Go(func() { l.serveWork(work) })
	helpers.Go(func() { l.notices.Serve(work) })
	var failed error
	helpers.Go(func() {
		if failed = l.cfg.Watch(work); failed != nil {
			stop()
		}
	})
	more := func() bool { return work.Err() == nil && !l.isClosed() }
	for more() {
		l.sinks.Deliver(more)
		select {
		case <-l.sinks.Ready():
		case <-work.Done():
		case <-l.ended:
		}
	}
	stop()
	helpers.Wait()
	switch {
	case l.isClosed():
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	case ctx.Err() == nil:
		return failed
	}
	return nil
}

func (l *Log) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	case l.served:
		return fmt.Errorf("redis: Serve of the log is running already: %w", transport.ErrInUse)
	}
	l.served = true
	l.serving.Add(1)
	return nil
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// serveWork does what is to be done from time to time, until ctx ends.
func (l *Log) serveWork(ctx context.Context) {
	timer := time.NewTimer(time.Nanosecond)
	defer timer.Stop()
	var lookAt time.Time // when all is to be looked at
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.ended:
			return
		case <-l.kick:
		case <-timer.C:
		}
		some := l.toLookAt()
		if now := time.Now(); !now.Before(lookAt) {
			some, lookAt = l.consuming(), now.Add(l.cfg.Poll)
		}
		l.observe(ctx, some)
		next := l.runDue(ctx, l.partitions())
		if next.IsZero() || lookAt.Before(next) {
			next = lookAt
		}
		timer.Reset(max(0, time.Until(next)))
	}
}

// briefly bounds what the background work asks at once: while one node is silent, the leases on others
// are to be renewed.
func (l *Log) briefly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, l.cfg.Lease/12)
}

// consuming are all memberships.
func (l *Log) consuming() []*member {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.members))
}

// toLookAt are those that look was called for.
func (l *Log) toLookAt() (some []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.hinted {
		if _, consuming := l.members[m]; consuming {
			some = append(some, m)
		}
	}
	clear(l.hinted)
	return some
}

// look has the consumers of a topic looked at now.
func (l *Log) look(t *topic) {
	l.mu.Lock()
	for m := range l.members {
		if m.topic == t {
			l.hinted[m] = struct{}{}
		}
	}
	l.mu.Unlock()
	l.work()
}

// work has the background work look now whether something is due.
func (l *Log) work() {
	select {
	case l.kick <- struct{}{}:
	default: // it is to be done already
	}
}

// listen has the channels listened to of what is consumed.
func (l *Log) listen() {
	channels := make(map[string]int)
	byChannel := make(map[string][]*consumerPart)
	l.mu.Lock()
	for m := range l.members {
		for _, p := range m.parts {
			channels[p.channel] = p.slot
			byChannel[p.channel] = append(byChannel[p.channel], p)
		}
	}
	l.byChannel = byChannel
	l.mu.Unlock()
	l.notices.Want(channels)
}

// heard takes in a notice: "ID before, ID, last offset" for what was added; else a lease or letters
// have changed.
func (l *Log) heard(channel, message string) {
	words := strings.Fields(message)
	l.mu.Lock()
	parts := l.byChannel[channel]
	l.mu.Unlock()
	if len(words) == 3 {
		for _, p := range parts {
			p.sawNext(number(words[2]) + 1)
		}
		return
	}
	l.live(channel)
}

// live has a partition looked at.
func (l *Log) live(channel string) {
	l.mu.Lock()
	for _, p := range l.byChannel[channel] {
		l.hinted[p.member] = struct{}{}
	}
	l.mu.Unlock()
	l.work()
}

// partitions are those of all topics that were opened.
func (l *Log) partitions() (all []*partition) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.topics {
		all = append(all, t.parts...)
	}
	return all
}

// observe looks at what is consumed: what there is to read, who is a member, and who holds what.
func (l *Log) observe(ctx context.Context, members []*member) {
	var cmds []nodes.Command
	for _, m := range members {
		cmds = append(cmds, m.beat(time.Now()))
		for _, p := range m.parts {
			k := p.keys
			cmds = append(cmds, nodes.Command{Slot: p.slot, Args: []string{"HMGET", p.meta, "n", "first", "due", k.lease, k.replays, "out"}, Repeatable: true})
		}
	}
	results := func() []nodes.Result {
		ctx, cancel := l.briefly(ctx)
		defer cancel()
		return l.nodes.Each(ctx, cmds)
	}()
	for _, m := range members {
		n := 1 + len(m.parts)
		m.observed(ctx, results[:n])
		results = results[n:]
	}
}

func partitionFields(p *partition, err error) []zap.Field {
	return []zap.Field{zap.String("topic", p.topic.placement.Topic), zap.Int("partition", p.number), zap.Error(err)}
}
