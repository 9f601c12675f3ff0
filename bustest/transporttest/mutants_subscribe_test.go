package transporttest_test

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// untilRelease is a context that ends with the case.
func (r *reference) untilRelease() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-r.release
		cancel()
	}()
	return ctx
}

var subscribeMutants = []mutant{
	{
		name: "returns before it is live", meant: "subscribe-live",
		subscribe: func(r *reference, _ context.Context, topic transport.Topic, next subscribeFunc) error {
			go func() {
				<-time.After(time.Millisecond)
				_ = next(r.untilRelease(), topic)
			}()
			return nil
		},
	},
	{
		name: "joins twice", meant: "subscribe-twice",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.counts[topic.Name]++
			r.mu.Unlock()
			return next(ctx, topic)
		},
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			for range r.state.counts[env.Topic] {
				next(env)
			}
		},
	},
	{
		name: "counts subscriptions", meant: "subscribe-twice",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.counts[topic.Name]++
			r.mu.Unlock()
			return next(ctx, topic)
		},
		unsubscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.counts[topic.Name]--
			left := r.state.counts[topic.Name]
			r.mu.Unlock()
			if left > 0 {
				return nil
			}
			return next(ctx, topic)
		},
	},
	{
		name: "takes any number of partitions", meant: "subscribe-other-partitions",
		subscribe: func(_ *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			if err := next(ctx, topic); !errors.Is(err, transport.ErrInvalidTopic) {
				return err
			}
			return nil
		},
	},
	{
		name: "wants to be served first", meant: "subscribe-waits-for-serve",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			if r.state.serves.Load() == 0 {
				return errors.New("not serving")
			}
			return next(ctx, topic)
		},
		serve: counted,
	},
	{
		name: "ignores contexts on Subscribe", meant: "subscribe-context",
		subscribe: func(r *reference, _ context.Context, topic transport.Topic, next subscribeFunc) error {
			return next(r.untilRelease(), topic)
		},
	},
	{
		name: "subscribes in the end all the same", meant: "subscribe-context",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			err := next(ctx, topic)
			if err != nil {
				go func() { _ = next(r.untilRelease(), topic) }()
			}
			return err
		},
	},
	{
		name: "leaves later", meant: "unsubscribe-ends",
		unsubscribe: func(r *reference, _ context.Context, topic transport.Topic, next subscribeFunc) error {
			go func() {
				<-time.After(10 * time.Millisecond)
				_ = next(r.untilRelease(), topic)
			}()
			return nil
		},
	},
	{
		name: "leaves other topics too", meant: "unsubscribe-ends",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.topics[topic.Name] = topic
			r.mu.Unlock()
			return next(ctx, topic)
		},
		unsubscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			topics := r.state.topics
			r.state.topics = make(map[string]transport.Topic)
			r.mu.Unlock()
			for _, other := range topics {
				if err := next(ctx, other); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		name: "goes on when nobody waits for Unsubscribe", meant: "unsubscribe-context",
		unsubscribe: func(_ *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return next(ctx, topic)
		},
	},
	{
		name: "complains of what is not subscribed", meant: "unsubscribe-unknown",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.counts[topic.Name]++
			r.mu.Unlock()
			return next(ctx, topic)
		},
		unsubscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			known := r.state.counts[topic.Name] > 0
			r.mu.Unlock()
			if !known {
				return errors.New("not subscribed")
			}
			return next(ctx, topic)
		},
	},
	{
		name: "never forgets that it left", meant: "subscribe-again",
		unsubscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.mu.Lock()
			r.state.counts[topic.Name]++
			r.mu.Unlock()
			return next(ctx, topic)
		},
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if r.state.counts[env.Topic] == 0 {
				next(env)
			}
		},
	},
	{
		name: "reports what was published while it was away", meant: "subscribe-again",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			of := env.Topic + env.Publisher
			if last := uint64(r.state.counts[of]); last > 0 && env.Seq > last+1 {
				r.sink.Gap(transport.Gap{Topic: env.Topic, Publisher: env.Publisher, From: last + 1, To: env.Seq - 1, Count: env.Seq - 1 - last})
			}
			r.state.counts[of] = int(env.Seq)
			next(env)
		},
	},
}
