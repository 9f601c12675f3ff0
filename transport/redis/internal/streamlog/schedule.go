package streamlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// Bounds of a step of the background work, so that it holds up nobody for long.
const (
	moveLimit = 100  // events that become due
	trimLimit = 1000 // events that are trimmed
)

// trimEvery is how often bounds on what is kept are looked at, and forgetEvery how often publishers
// are that append nothing.
const (
	trimEvery   = time.Second
	forgetEvery = 10 * time.Minute
)

// waits notes when the first of a batch's events is due.
func (p *partition) waits(b *transport.Batch, waiting []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range waiting {
		if at := b.Due[i]; p.moveAt.IsZero() || at.Before(p.moveAt) {
			p.moveAt = at
		}
	}
}

// sawDue notes what meta says of the first event that is due, by the server's clock; 0 is none.
func (p *partition) sawDue(ms uint64, poll time.Duration) {
	if ms == 0 {
		return
	}
	at := time.UnixMilli(int64(ms)) //nolint:gosec // a time
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.moveAt.IsZero() || at.Before(p.moveAt) {
		// The clocks may differ: a move that comes too early says when the next is to be.
		p.moveAt = maxTime(at, time.Now().Add(-poll))
	}
}

// sawStaged notes that something is staged.
func (p *partition) sawStaged() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outAt.IsZero() {
		p.outAt = time.Now()
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// runDue does for each partition what is to be done at a time, and returns when the next is.
func (l *Log) runDue(ctx context.Context, parts []*partition) (next time.Time) {
	now := time.Now()
	var moves, trims, outs []*partition
	for _, p := range parts {
		p.mu.Lock()
		if !p.moveAt.IsZero() && !p.moveAt.After(now) {
			moves = append(moves, p)
		}
		if !p.trimAt.IsZero() && !p.trimAt.After(now) {
			trims = append(trims, p)
		}
		if !p.outAt.IsZero() && !p.outAt.After(now) {
			outs = append(outs, p)
		}
		p.mu.Unlock()
	}
	l.move(ctx, moves)
	l.trim(ctx, trims)
	for _, p := range outs {
		brief, cancel := l.briefly(ctx)
		l.empty(brief, p)
		cancel()
	}
	for _, p := range parts {
		p.mu.Lock()
		for _, at := range []time.Time{p.moveAt, p.trimAt, p.outAt} {
			if !at.IsZero() && (next.IsZero() || at.Before(next)) {
				next = at
			}
		}
		p.mu.Unlock()
	}
	return next
}

// move adds what is due in partitions.
func (l *Log) move(ctx context.Context, parts []*partition) {
	cmds := make([]nodes.Command, len(parts))
	for i, p := range parts {
		cmds[i] = nodes.Command{
			Slot: p.slot, Script: scripts.Move, Keys: p.keys, Args: []string{p.channel, strconv.Itoa(moveLimit), millis(p.topic.config.Load().DedupIDs)}, Repeatable: true,
		}
	}
	brief, cancel := l.briefly(ctx)
	defer cancel()
	for i, r := range l.nodes.Each(brief, cmds) {
		p := parts[i]
		words, err := texts(r.Message, r.Err)
		wait := retryAfter
		if err != nil {
			l.complain(ctx, p, "events that are due could not be added; it is tried again", err)
		} else if ms, err := strconv.Atoi(words[1]); err == nil {
			wait = time.Duration(ms) * time.Millisecond
			if words[0] != "0" {
				l.look(p.topic)
			}
		}
		p.mu.Lock()
		if p.moveAt = time.Now().Add(wait); wait < 0 {
			p.moveAt = time.Time{}
		}
		p.mu.Unlock()
	}
}

// retryAfter is when work is tried again that failed.
const retryAfter = time.Second

// trim trims partitions.
func (l *Log) trim(ctx context.Context, parts []*partition) {
	cmds := make([]nodes.Command, len(parts))
	for i, p := range parts {
		retain, idle := p.topic.config.Load().Retain, ""
		p.mu.Lock()
		if now := time.Now(); now.After(p.forgetIdle) {
			p.forgetIdle, idle = now.Add(forgetEvery), millis(transport.PublisherIdle)
		}
		p.mu.Unlock()
		cmds[i] = nodes.Command{
			Slot: p.slot, Script: scripts.Trim, Keys: []string{p.log, p.meta},
			Args: []string{millis(retain.Age), decimal(retain.Events), decimal(retain.Bytes), idle, strconv.Itoa(trimLimit)}, Repeatable: true,
		}
	}
	brief, cancel := l.briefly(ctx)
	defer cancel()
	for i, r := range l.nodes.Each(brief, cmds) {
		p, wait := parts[i], trimEvery
		words, err := texts(r.Message, r.Err)
		if err != nil {
			l.complain(ctx, p, "a partition could not be trimmed; it is tried again", err)
		} else if words[1] == "1" {
			wait = 0
		} else if ms, err := strconv.Atoi(words[2]); err == nil && ms >= 0 {
			wait = min(wait, time.Duration(ms)*time.Millisecond+time.Millisecond)
		}
		retain := p.topic.config.Load().Retain
		p.mu.Lock()
		if retain == (transport.Retain{}) {
			wait = forgetEvery
		}
		p.trimAt = time.Now().Add(wait)
		p.mu.Unlock()
	}
}

// complain logs a fault of the background work. One of a topic that is no more is none.
func (l *Log) complain(ctx context.Context, p *partition, what string, err error) {
	if ctx.Err() != nil || l.isForgotten(p) || errors.Is(err, transport.ErrNoSuchTopic) && l.forget(p.topic) {
		return
	}
	l.cfg.Logger.Warn(what, partitionFields(p, err)...)
}

// forget drops a topic that another process has deleted, and reports whether nobody here consumes it.
func (l *Log) forget(t *topic) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.members {
		if m.topic == t {
			return false
		}
	}
	if l.topics[t.placement.Topic] == t {
		delete(l.topics, t.placement.Topic)
	}
	return true
}

// isForgotten reports whether a partition is of a topic that was deleted.
func (l *Log) isForgotten(p *partition) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topics[p.topic.placement.Topic] != p.topic
}

func (p *partition) String() string {
	return fmt.Sprintf("topic %q, partition %d", p.topic.placement.Topic, p.number)
}
