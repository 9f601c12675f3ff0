package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// crew are the writers of one incarnation of a publisher. Who takes one may send a pipeline with it: the publisher's own
// goroutines, or a caller of Publish who finds one idle. That saves a lone caller two switches of goroutines, which on one
// machine are as much as the round trip.
type crew struct {
	running context.Context //nolint:containedctx // of the incarnation: callers lead under it
	stop    func(error)
	cut     func()       // with Config.Standby: ends the connection at once
	idle    chan *writer // capacity: all of them
}

// enlistCrew makes a publisher's writers available to callers, until dismissed.
func (o *outbox) enlistCrew(l *lane, c *crew) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.crew = c
}

// dismiss waits until no caller leads any more; each has CommandTimeout.
func (o *outbox) dismiss(l *lane, c *crew) {
	o.mu.Lock()
	if l.crew == c {
		l.crew = nil
	}
	o.mu.Unlock()
	for range pipelines {
		<-c.idle
	}
}

// lead queues the events of a call, and returns a writer for the caller to write them with, if there is one idle, all are
// for one lane and one pipeline, and nothing of their streams is in flight; else it does nothing. Only who has no way to be
// called back may lead: in a pipeline there is none.
func (o *outbox) lead(ctx context.Context, c *call) (w *writer, l *lane) {
	if len(c.items) > batchEvents || ctx.Done() != nil || o.cfg.PublishTimeout < 2*o.cfg.CommandTimeout {
		return nil, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.mu.err != nil {
		return nil, nil
	}
	if l = o.leadableLocked(c); l != nil {
		select {
		case w = <-l.crew.idle:
		default:
		}
	}
	if w == nil {
		for i := range c.items {
			c.items[i].stream = nil // not queued
		}
		return nil, nil
	}
	for i := range c.items {
		it := &c.items[i]
		s := it.stream
		if s == nil { // refused
			continue
		}
		s.queue = append(s.queue, it)
		l.events++
		l.bytes += it.size
		if !s.ready {
			s.ready = true
			l.ready = append(l.ready, s)
		}
		c.open++
	}
	c.release()
	return w, l
}

// leadableLocked finds the streams of a call's events, and the lane of all of them if the caller may lead there as far as
// the lane is concerned.
func (o *outbox) leadableLocked(c *call) *lane {
	var l *lane
	events, bytes := 0, 0
	for i := range c.items {
		it := &c.items[i]
		if it.env == nil { // refused
			continue
		}
		s := o.streamLocked(streamKey{publisher: it.env.Publisher, channel: it.channel}, it.slot)
		if l == nil {
			l = s.lane
		}
		if s.lane != l || s.inFlight > 0 {
			return nil
		}
		it.stream = s
		events++
		bytes += it.size
	}
	switch {
	case l == nil || l.crew == nil || l.crew.running.Err() != nil || l.full(o.cfg, bytes):
		return nil
	case events > 1 && (l.events+events > o.cfg.QueueEvents || l.bytes+bytes > o.cfg.QueueBytes || bytes > batchBytes):
		return nil
	}
	return l
}

// lead sends what is ready, the caller's events among it if that is not more than one pipeline holds, and gives the
// writer back.
func (w *writer) lead(l *lane) {
	c := w.crew
	if err := w.write(c.running, l); err != nil {
		c.stop(err)
	}
	c.idle <- w
}

// follow is lead for the publisher's goroutines, which wait for a writer.
func (c *crew) follow(ctx context.Context, l *lane) error {
	select {
	case w := <-c.idle:
		err := w.write(ctx, l)
		c.idle <- w
		return err
	case <-ctx.Done():
		return nil
	}
}

// hushFor is how long what is no event waits for the writers to be idle.
const hushFor = 5 * time.Millisecond

// doAside sends the commands while no writer does, if that can be had soon. A connection that has two pipelines in flight
// once is served by goroutines of rueidis from then on, which costs a lone publisher more than the wait does.
func (w *writer) doAside() []rueidis.RedisResult {
	if w.crew == nil {
		return w.do()
	}
	limit := time.NewTimer(hushFor)
	defer limit.Stop()
	held := make([]*writer, 0, pipelines)
	defer func() {
		for _, one := range held {
			w.crew.idle <- one
		}
	}()
	for len(held) < pipelines {
		select {
		case one := <-w.crew.idle:
			held = append(held, one)
			continue
		case <-limit.C:
		}
		break
	}
	return w.do()
}
