package transporttest_test

import (
	"context"

	"github.com/shardbus/shardbus/transport"
)

var mismatchMutants = []mutant{
	{
		name: "is silent about peers", meant: "mismatch-partitions",
		mismatch: func(*reference, transport.Mismatch, mismatchFunc) {},
	},
	{
		name: "tells the subscriber only", meant: "mismatch-partitions",
		mismatch: func(_ *reference, m transport.Mismatch, next mismatchFunc) {
			if !m.Subscribes {
				next(m)
			}
		},
	},
	{
		name: "does not look at types", meant: "mismatch-type",
		mismatch: func(_ *reference, m transport.Mismatch, next mismatchFunc) {
			if m.Here.Partitions != m.There.Partitions {
				next(m)
			}
		},
	},
	{
		name: "names nobody", meant: "mismatch-type",
		mismatch: func(_ *reference, m transport.Mismatch, next mismatchFunc) {
			m.Peer = ""
			next(m)
		},
	},
	{
		name: "compares what is unknown", meant: "mismatch-none",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			for _, env := range envs {
				if env.TypeName == "" {
					env.TypeName = "unknown"
				}
			}
			next(ctx, envs, results)
		},
	},
}
