package transporttest_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// counted is a Serve that counts those that began.
func counted(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
	r.state.serves.Add(1)
	return next(ctx, sink)
}

// noted is a Subscribe that notes the topic.
func noted(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
	r.mu.Lock()
	r.state.topics[topic.Name] = topic
	r.mu.Unlock()
	return next(ctx, topic)
}

func (r *reference) noted() []transport.Topic {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.state.topics))
}

var serveMutants = []mutant{
	{
		name: "blocks the end of Serve", meant: "serve-ends",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			err := next(ctx, sink)
			<-r.release
			return err
		},
	},
	{
		name: "calls the end of Serve an error", meant: "serve-ends",
		serve: func(_ *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			return errors.Join(next(ctx, sink), ctx.Err())
		},
	},
	{
		name: "delivers when Serve has returned", meant: "serve-spares-sink",
		deliver: func(_ *reference, env *transport.Envelope, next deliverFunc) {
			time.AfterFunc(3*time.Millisecond, func() { next(env) })
		},
	},
	{
		name: "leaks a goroutine", meant: "serve-leaves-nothing",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			go func() { <-r.release }()
			return next(ctx, sink)
		},
	},
	{
		name: "serves two", meant: "serve-second",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			err := next(ctx, sink)
			if errors.Is(err, transport.ErrInUse) {
				select {
				case <-ctx.Done():
				case <-r.release:
				}
				return nil
			}
			return err
		},
	},
	{
		name: "has the second take over", meant: "serve-second",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			r.mu.Lock()
			if r.sink != nil {
				r.sink = sink
			}
			r.mu.Unlock()
			return next(ctx, sink)
		},
	},
	{
		name: "loses subscriptions at a restart", meant: "serve-again",
		subscribe: noted,
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			for _, topic := range r.noted() {
				_ = r.Transport.Unsubscribe(ctx, topic)
			}
			return next(ctx, sink)
		},
	},
	{
		name: "revives what was unsubscribed", meant: "serve-again",
		subscribe: noted,
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			for _, topic := range r.noted() {
				go func() { _ = r.Transport.Subscribe(ctx, topic) }()
			}
			return next(ctx, sink)
		},
	},
	{
		name: "is silent of what came between", meant: "serve-again-gap",
		gap: func(*reference, transport.Gap, gapFunc) {},
	},
}
