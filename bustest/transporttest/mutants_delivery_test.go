package transporttest_test

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/transport"
)

// lossy returns a mutant that loses the envelopes of which drop is true.
func lossy(name, meant string, drop func(r *reference, env *transport.Envelope) bool) mutant {
	return mutant{name: name, meant: meant, deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
		if !drop(r, env) {
			next(env)
		}
	}}
}

var deliveryMutants = []mutant{
	{
		name: "hides that it can be closed", meant: "features",
		features: func(f *transporttest.Features) { f.Close = false },
	},
	{
		name: "hides that it can be cut off", meant: "features",
		features: func(f *transporttest.Features) { f.Sever = false },
	},
	{
		name: "hides that it can be sent garbled messages", meant: "features",
		features: func(f *transporttest.Features) { f.Garble = false },
	},
	{
		name: "hides that it can say how it is", meant: "features",
		features: func(f *transporttest.Features) { f.Health = false },
	},
	{
		name: "hides that it can forget", meant: "features",
		features: func(f *transporttest.Features) { f.Forget = false },
	},
	lossy("loses one in a thousand", "deliver-once", func(r *reference, _ *transport.Envelope) bool { return r.state.n.Add(1)%1000 == 500 }),
	{
		name: "duplicates one in a thousand", meant: "deliver-once",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			next(env)
			if r.state.n.Add(1)%1000 == 500 {
				next(env)
			}
		},
	},
	{
		name: "delivers and reports one in a thousand", meant: "deliver-once",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			next(env)
			if r.state.n.Add(1)%1000 == 500 {
				r.sink.Gap(transport.Gap{Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher, From: env.Seq, To: env.Seq, Count: 1})
			}
		},
	},
	{
		name: "swaps neighbours", meant: "deliver-order",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if r.state.n.Add(1)%100 == 50 {
				r.state.held = append(r.state.held, env)
				return
			}
			next(env)
			for _, late := range r.state.held {
				next(late)
			}
			r.state.held = nil
		},
	},
	{
		name: "publishes batches backwards", meant: "deliver-order",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			backwards := slices.Clone(envs)
			slices.Reverse(backwards)
			next(ctx, backwards, results)
			slices.Reverse(results)
		},
	},
	{
		name: "keeps the order of keys only", meant: "deliver-order-of-many",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if env.Key == "1" && len(r.state.held) < 3 {
				r.state.held = append(r.state.held, env)
				return
			}
			next(env)
			for _, late := range r.state.held {
				next(late)
			}
			r.state.held = nil
		},
	},
	lossyWhere("does not hear itself", "deliver-to-all", func(r *reference, env *transport.Envelope) bool { return r.state.counts[env.Publisher] > 0 },
		func(r *reference, env *transport.Envelope) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.state.counts[env.Publisher]++
		}),
	changed("does not tell upper from lower case", "deliver-topics-apart", func(_ *reference, env *transport.Envelope) { env.Topic = strings.ToLower(env.Topic) }),
	lossy("forgets the last partition", "deliver-partitions", func(_ *reference, env *transport.Envelope) bool {
		return env.Partitions > 1 && env.Partition == env.Partitions-1
	}),
	changed("forgets where the event lay", "deliver-partitions", func(_ *reference, env *transport.Envelope) { env.Partition = 0 }),
	changed("forgets how many partitions there are", "deliver-partitions", func(_ *reference, env *transport.Envelope) { env.Partitions = 0 }),
	{
		name: "loses what the sink is too slow for", meant: "deliver-slow-sink",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			queue := make(chan *transport.Envelope, 4)
			var handing sync.WaitGroup
			handing.Go(func() {
				for env := range queue {
					sink.Deliver(env)
				}
			})
			r.mu.Lock()
			r.state.queue = queue
			r.mu.Unlock()
			err := next(ctx, sink)
			close(queue)
			handing.Wait()
			return err
		},
		deliver: func(r *reference, env *transport.Envelope, _ deliverFunc) {
			select {
			case r.state.queue <- env:
			default:
			}
		},
	},
	{
		name: "reports what came before the subscription", meant: "deliver-no-false-gap",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if of := env.Topic + env.Publisher; r.state.counts[of] == 0 && env.Seq > 1 {
				r.sink.Gap(transport.Gap{Topic: env.Topic, Publisher: env.Publisher, From: 1, To: env.Seq - 1, Count: env.Seq - 1})
			}
			r.state.counts[env.Topic+env.Publisher]++
			next(env)
		},
	},
}

// lossyWhere is lossy for a fault that shows on what this transport has published.
func lossyWhere(name, meant string, drop func(r *reference, env *transport.Envelope) bool, published func(r *reference, env *transport.Envelope)) mutant {
	m := lossy(name, meant, drop)
	m.publish = func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
		for _, env := range envs {
			published(r, env)
		}
		next(ctx, envs, results)
	}
	return m
}
