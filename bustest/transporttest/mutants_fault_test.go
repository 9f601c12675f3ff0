package transporttest_test

import (
	"context"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// regap returns a mutant that reports a changed gap.
func regap(name, meant string, change func(g *transport.Gap)) mutant {
	return mutant{name: name, meant: meant, gap: func(_ *reference, g transport.Gap, next gapFunc) {
		change(&g)
		next(g)
	}}
}

var faultMutants = []mutant{
	{
		name: "loses without a gap", meant: "fault-gap",
		gap: func(*reference, transport.Gap, gapFunc) {},
	},
	{
		name: "reports a loss twice", meant: "fault-gap",
		gap: func(_ *reference, g transport.Gap, next gapFunc) {
			next(g)
			next(g)
		},
	},
	{
		name: "reports a loss again at the next", meant: "fault-gap",
		gap: func(r *reference, g transport.Gap, next gapFunc) {
			r.state.gaps = append(r.state.gaps, g)
			for _, g := range r.state.gaps {
				next(g)
			}
		},
	},
	regap("reports too much", "fault-gap", func(g *transport.Gap) { g.To++; g.Count++ }),
	regap("reports too little", "fault-gap", func(g *transport.Gap) { g.From++; g.Count-- }),
	regap("reports without numbers", "fault-gap", func(g *transport.Gap) { g.From, g.To = 0, 0 }),
	regap("calls what is lost uncertain", "fault-gap", func(g *transport.Gap) { g.Kind = transport.Uncertain }),
	{
		name: "delivers what it reported", meant: "fault-gap",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if n := len(r.state.gaps); n > 0 {
				late := *env
				late.Seq, late.ID = r.state.gaps[n-1].To, "late"
				next(&late)
				r.state.gaps = nil
			}
			next(env)
		},
		gap: func(r *reference, g transport.Gap, next gapFunc) {
			r.state.gaps = append(r.state.gaps, g)
			next(g)
		},
	},
	regap("miscounts", "fault-gap-fields", func(g *transport.Gap) { g.Count = 1 }),
	regap("does not say since when", "fault-gap-fields", func(g *transport.Gap) { g.Since = time.Time{} }),
	regap("blames partition 0", "fault-gap-fields", func(g *transport.Gap) { g.Partition = 0 }),
	regap("blames nobody", "fault-gap-fields", func(g *transport.Gap) { g.Publisher = "" }),
	{
		name: "finds a hole by what follows it only", meant: "fault-tail",
		gap: func(r *reference, g transport.Gap, _ gapFunc) { r.state.gaps = append(r.state.gaps, g) },
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			for _, g := range r.state.gaps {
				r.sink.Gap(g)
			}
			r.state.gaps = nil
			next(env)
		},
	},
	{
		name: "says accepted while it is cut off", meant: "fault-uncertain",
		publish: func(_ *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			clear(results)
		},
	},
	{
		name: "sends twice what it could not send", meant: "fault-uncertain",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			for i, res := range results {
				if res.Err != nil {
					r.state.held = append(r.state.held, envs[i])
					continue
				}
				for _, env := range r.state.held {
					twin := *env
					next(ctx, []*transport.Envelope{env, &twin}, make([]transport.Result, 2))
				}
				r.state.held = nil
			}
		},
	},
	{
		name: "calls what it could not send lost", meant: "fault-uncertain",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(ctx, envs, results)
			for _, res := range results {
				if res.Err != nil {
					r.abandoned.Add(1)
				}
			}
		},
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			twin := *env
			twin.Seq += r.abandoned.Load()
			if twin.Seq > env.Seq && len(r.state.gaps) == 0 {
				g := transport.Gap{Topic: env.Topic, Publisher: env.Publisher, From: env.Seq, To: twin.Seq - 1, Count: twin.Seq - env.Seq}
				r.state.gaps = append(r.state.gaps, g)
				r.sink.Gap(g)
			}
			next(&twin)
		},
	},
	{
		name: "ignores contexts while it is cut off", meant: "fault-contexts",
		publish: func(r *reference, _ context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			next(r.untilRelease(), envs, results)
		},
	},
	{
		name: "waits for the broker before Serve ends", meant: "fault-serve-ends",
		serve: func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			err := next(ctx, sink)
			_ = r.await(r.untilRelease())
			return err
		},
	},
	{
		name: "stays deaf", meant: "fault-live-again",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if r.state.mends == 0 {
				next(env)
			}
		},
	},
	{
		name: "is live again for all but one", meant: "fault-live-again",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			if r.state.mends == 0 || env.Topic[len(env.Topic)-1] != '4' {
				next(env)
			}
		},
	},
}
