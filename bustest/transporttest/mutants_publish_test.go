package transporttest_test

import (
	"context"
	"errors"
	"runtime"

	"github.com/shardbus/shardbus/transport"
)

// afterwards returns a mutant that changes results.
func afterwards(name, meant string, change func(env *transport.Envelope, r *transport.Result)) mutant {
	return mutant{name: name, meant: meant, publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
		next(ctx, envs, results)
		for i := range results {
			change(envs[i], &results[i])
		}
	}}
}

var publishMutants = []mutant{
	{
		name: "forgets results", meant: "publish-results",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			own := make([]transport.Result, len(results))
			next(ctx, envs, own)
			for i, r := range own {
				if r.Err != nil {
					results[i] = r
				}
			}
		},
	},
	{
		name: "mixes up results", meant: "publish-results",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			if n := len(results); n > 1 {
				results[0], results[1] = results[1], results[0]
			}
		},
	},
	{
		name: "ends a batch at its first failure", meant: "publish-results",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			for i := range envs {
				next(ctx, envs[i:i+1], results[i:i+1])
				if err := results[i].Err; err != nil {
					for j := i; j < len(envs); j++ {
						results[j] = transport.Result{Err: err}
					}
					return
				}
			}
		},
	},
	{
		name: "truncates what is too large", meant: "publish-too-large",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			for _, env := range envs {
				env.Payload = env.Payload[:min(len(env.Payload), referenceLimit)]
			}
			next(ctx, envs, results)
		},
	},
	afterwards("has its own word for too large", "publish-too-large", func(_ *transport.Envelope, r *transport.Result) {
		if errors.Is(r.Err, transport.ErrTooLarge) {
			r.Err = errors.New("message too long")
		}
	}),
	afterwards("accepts any topic", "publish-invalid-topic", func(_ *transport.Envelope, r *transport.Result) {
		if errors.Is(r.Err, transport.ErrInvalidTopic) {
			r.Err = nil
		}
	}),
	{
		name: "reads the caller's slice later", meant: "publish-slices",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, r.state.held, make([]transport.Result, len(r.state.held))) // of the call before
			r.state.held = envs
			clear(results)
		},
	},
	{
		name: "ignores contexts on Publish", meant: "publish-ended-context",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(context.WithoutCancel(ctx), envs, results)
		},
	},
	afterwards("hides causes", "publish-ended-context", func(_ *transport.Envelope, r *transport.Result) {
		if r.Err != nil {
			r.Err = context.Canceled
		}
	}),
	{
		name: "sends again what it gave up", meant: "publish-cancelled",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			for i := range results {
				if results[i].Err != nil {
					for range 2 {
						twin := *envs[i]
						next(context.WithoutCancel(ctx), []*transport.Envelope{&twin}, make([]transport.Result, 1))
					}
				}
			}
		},
	},
	{
		name: "says accepted when cancelled", meant: "publish-cancelled",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			if ctx.Err() != nil {
				clear(results)
			}
		},
	},
	{
		name: "waits for Serve for ever", meant: "publish-before-serve",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			if r.state.serves.Load() == 0 {
				<-r.release
			}
			next(ctx, envs, results)
		},
		serve: counted,
	},
	afterwards("makes receivers up", "publish-receivers", func(_ *transport.Envelope, r *transport.Result) { r.Receivers++ }),
	afterwards("does not tell numbers", "publish-number", func(_ *transport.Envelope, r *transport.Result) { r.Seq = 0 }),
	afterwards("tells the number before", "publish-number", func(_ *transport.Envelope, r *transport.Result) { r.Seq = max(r.Seq, 1) - 1 }),
	{
		name: "tells the first number of a call for all", meant: "publish-number",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			for i := range results {
				results[i].Seq = results[0].Seq
			}
		},
	},
	{
		name: "loses what is published at once", meant: "concurrent",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			defer r.state.busy.Add(-1)
			if r.state.busy.Add(1) > 1 {
				clear(results)
				return
			}
			for range 20 {
				runtime.Gosched()
			}
			next(ctx, envs, results)
		},
	},
}
