package transporttest_test

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/transport"
)

var lifeMutants = []mutant{
	{
		name: "can be claimed twice", meant: "claim",
		claim: func(*reference, func() error) error { return nil },
	},
	{
		name: "is never released", meant: "claim",
		release: func(*reference, func()) {},
	},
	{
		name: "claims beside others", meant: "claim",
		claim: func(r *reference, _ func() error) error {
			if r.state.n.Add(1) > 3 {
				return nil
			}
			return transport.ErrInUse
		},
	},
	{
		name: "keeps the subscriptions of the bus before", meant: "claim-release-forgets",
		claim: func(r *reference, _ func() error) error {
			if !r.state.n.CompareAndSwap(0, 1) {
				return transport.ErrInUse
			}
			return nil
		},
		release: func(r *reference, _ func()) { r.state.n.Store(0) },
	},
	{
		name: "cannot be closed twice", meant: "close",
		close: func(r *reference, next func() error) error {
			if r.state.n.Add(1) > 1 {
				return errors.New("closed already")
			}
			return next()
		},
	},
	{
		name: "blocks Close", meant: "close",
		close: func(r *reference, next func() error) error {
			if r.state.n.Add(1) == 1 {
				<-r.release
			}
			return next()
		},
	},
	{
		name: "goes on serving when it is closed", meant: "close",
		close: func(r *reference, _ func() error) error { return nil },
	},
	{
		name: "ends Serve without an error at Close", meant: "close",
		serve: func(_ *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
			if err := next(ctx, sink); !errors.Is(err, transport.ErrClosed) {
				return err
			}
			return nil
		},
	},
	{
		name: "publishes when it is closed", meant: "close-fails-all",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, _ publishFunc) {
			r.Transport.Publish(ctx, envs, results)
		},
	},
	{
		name: "waits for a Serve that never comes", meant: "close-fails-all",
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, _ subscribeFunc) error {
			return r.Transport.Subscribe(ctx, topic)
		},
	},
}
