package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// Publish sends events through their channels and returns when the shard's primary has accepted each, or it has
// failed; see transport.Transport. Through a fail-over it goes on trying until ctx ends or Config.PublishTimeout has
// passed (ErrTimeout). It blocks while the queue of a shard is full. An event whose Publish returned an error, other
// than because it was too large or the transport closed, may have been received; if it is missing, subscribers report
// it as Uncertain. Afterwards the envelope's Seq is the number it was given; 0 if it was never written.
func (t *Transport) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	if len(t.dedicated) > 0 && t.publishDedicated(ctx, envs, results) {
		return
	}
	t.publish(ctx, envs, results)
}

// publish is Publish for what this transport carries itself.
func (t *Transport) publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	c := t.calls.get(results)
	for i, env := range envs {
		results[i] = transport.Result{}
		it := &c.events[i]
		to, err := t.route(env)
		if err != nil {
			results[i].Err = err
			continue
		}
		it.env, it.call, it.index, it.route = env, c, i, to
		it.doc, it.seqAt = to.encode(it.doc[:0], env, "")
		it.size = len(it.doc) + len(to.channel) + eventOverhead
	}
	err := t.enqueue(ctx, c)
	if err == nil {
		t.calls.put(c)
		return
	}
	t.sender.abandon(c, err)
	for i := range c.events {
		if it := &c.events[i]; it.env != nil && it.queue == nil {
			results[i].Err = fmt.Errorf("redis: publish to %q: %w", it.env.Topic, err)
		}
	}
}

// itemOverhead is about what a queued event costs beside its document and channel.
const eventOverhead = 400

// enqueue queues the call's items, waiting for room, and waits until they are settled.
func (t *Transport) enqueue(ctx context.Context, c *publishCall) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	begin := time.Now()
	w, next, space, err := t.sender.push(c, 0)
	if t.write(ctx, w, c, err == nil && space == nil) {
		return nil
	}
	timer := c.timer(max(conn.Promptly, t.cfg.PublishTimeout-time.Since(begin)))
	defer timer.Stop()
	for err == nil && space != nil {
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return ErrTimeout
		}
		w, next, space, err = t.sender.push(c, next)
		t.write(ctx, w, nil, false)
	}
	if err != nil {
		return err
	}
	return c.wait(ctx, timer.C)
}

// callerReads is how often a caller of Publish reads.
const callerReads = 4

// write has what is queued written, if w is not nil, and reports whether all of the call was settled. It may only be if all
// of it is queued. Who cannot be called back while it writes or reads may wait there, since that is not for long.
func (t *Transport) write(ctx context.Context, w *writer, c *publishCall, queued bool) (settled bool) {
	if w == nil {
		return false
	}
	reads := queued && ctx.Done() == nil && t.cfg.PublishTimeout >= (callerReads+1)*t.cfg.CommandTimeout
	w.tryWrite(reads, reads)
	return reads && w.pipeline.ReadUntil(c.done, callerReads)
}

// route checks an envelope and returns where it goes.
func (t *Transport) route(env *transport.Envelope) (route, error) {
	if err := t.Capabilities().CheckPayload(env.Payload); err != nil {
		return route{}, fmt.Errorf("redis: publish to %q: %w", env.Topic, err)
	}
	if len(env.Headers) > wire.MaxHeaders {
		return route{}, fmt.Errorf("redis: publish to %q: %w: it has %d headers, and at most %d are read",
			env.Topic, transport.ErrTooLarge, len(env.Headers), wire.MaxHeaders)
	}
	to, err := t.routes.of(env)
	if err != nil {
		return route{}, fmt.Errorf("redis: publish to %q: %w", env.Topic, err)
	}
	return to, nil
}
