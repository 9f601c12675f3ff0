package publisher

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// Publisher publishes events. New makes one; its methods may be called concurrently.
type Publisher struct {
	cfg     Settings
	log     *zap.Logger
	cluster Cluster
	sender  *sender
	control control.Queues
	routes  routes
	calls   callPool
	ending  atomic.Bool
}

// New returns a publisher that queues events. Serve writes them.
func New(cfg Settings, cluster Cluster) *Publisher {
	p := &Publisher{cfg: cfg, log: cfg.Logger, cluster: cluster}
	p.sender = newSender(&p.cfg, cluster)
	p.routes.compact, p.routes.classes = cfg.Compact, cfg.Classes
	return p
}

// Control sends control messages on the publisher's connections.
func (pub *Publisher) Control() control.Sender { return &pub.control }

// Answerer answers questions to the publishers of this process.
func (pub *Publisher) Answerer() control.Answerer { return pub.sender }

// Open lets events in.
func (pub *Publisher) Open() { pub.sender.open() }

// Close fails what is queued, and what comes until Open, with err. What is in flight is told its
// end by its writer, and not sent again.
func (pub *Publisher) Close(err error) { pub.sender.close(err) }

// Forget drops the channels of which nothing is on its way: after Close, and when no Serve runs,
// all of them.
func (pub *Publisher) Forget() { pub.sender.forget() }

// SetEnding says whether the end of Serve is that of the transport: then it publishes last
// watermarks.
func (pub *Publisher) SetEnding(ending bool) { pub.ending.Store(ending) }

// ApplyTopology moves channels to the nodes that the cluster's snapshot names now.
func (pub *Publisher) ApplyTopology() { pub.sender.applyTopology() }

// ExpireRedirects ends redirects that led nowhere. It is to be called about every second, and more
// often while something is wrong.
func (pub *Publisher) ExpireRedirects(now time.Time) { pub.sender.expireRedirects(now) }

// NodeReports takes in whether a node says that it is cut off.
func (pub *Publisher) NodeReports(addr string, failing bool) { pub.sender.nodeReports(addr, failing) }

// Publish publishes events and returns when the server has accepted each, or it has failed; see
// transport.Transport. It goes on trying until ctx ends or Settings.PublishTimeout has passed
// (conn.ErrTimeout), and blocks while the queue of a node is full. Afterwards an envelope's Seq is
// the number that it was given; 0 if it was never written.
func (pub *Publisher) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	c := pub.calls.get(results)
	for i, env := range envs {
		results[i] = transport.Result{}
		it := &c.events[i]
		to, err := pub.route(env)
		if err != nil {
			results[i].Err = err
			continue
		}
		it.env, it.caller, it.index, it.route = env, c, i, to
		it.doc, it.seqAt = to.encode(it.doc[:0], env, "")
		it.size = len(it.doc) + len(to.channel) + eventOverhead
	}
	err := pub.enqueue(ctx, c)
	if err == nil {
		pub.calls.put(c)
		return
	}
	pub.sender.abandon(c, err)
	for i := range c.events {
		if it := &c.events[i]; it.env != nil && it.queue == nil {
			results[i].Err = fmt.Errorf("redis: publish to %q: %w", it.env.Topic, err)
		}
	}
}

// eventOverhead is about what a queued event costs beside its document and channel.
const eventOverhead = 400

// enqueue queues the call's events, waiting for room, and waits until they are resolved.
func (pub *Publisher) enqueue(ctx context.Context, c *publishCall) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	begin := time.Now()
	w, next, space, err := pub.sender.push(c, 0)
	if pub.write(ctx, w, c, err == nil && space == nil) {
		return nil
	}
	timer := c.timer(max(conn.Promptly, pub.cfg.PublishTimeout-time.Since(begin)))
	defer timer.Stop()
	for err == nil && space != nil {
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return conn.ErrTimeout
		}
		w, next, space, err = pub.sender.push(c, next)
		pub.write(ctx, w, nil, false)
	}
	if err != nil {
		return err
	}
	return c.wait(ctx, timer.C)
}

// callerReads is how often a caller of Publish reads.
const callerReads = 4

// write has what is queued written, if w is not nil, and reports whether all of the call was
// resolved. It may only be if all of it is queued. Who cannot be called back while it writes or
// reads may wait there, since that is not for long.
func (pub *Publisher) write(ctx context.Context, w queueWriter, c *publishCall, queued bool) (resolved bool) {
	if w == nil {
		return false
	}
	reads := queued && ctx.Done() == nil && pub.cfg.PublishTimeout >= (callerReads+1)*pub.cfg.CommandTimeout
	w.tryWrite(reads, reads)
	return reads && w.readUntil(c.done, callerReads)
}

// route checks an envelope and returns where it goes.
func (pub *Publisher) route(env *transport.Envelope) (route, error) {
	if err := pub.cfg.Capabilities.CheckPayload(env.Payload); err != nil {
		return route{}, fmt.Errorf("redis: publish to %q: %w", env.Topic, err)
	}
	if env.Headers.Len() > wire.MaxHeaders {
		return route{}, fmt.Errorf("redis: publish to %q: %w: it has %d headers, and at most %d are read",
			env.Topic, transport.ErrTooLarge, env.Headers.Len(), wire.MaxHeaders)
	}
	to, err := pub.routes.of(env)
	if err != nil {
		return route{}, fmt.Errorf("redis: publish to %q: %w", env.Topic, err)
	}
	return to, nil
}
