package transporttest_test

import (
	"context"
	"errors"
	"strings"

	"github.com/shardbus/shardbus/transport"
)

var forgetMutants = []mutant{
	{
		name: "forgets every publisher", meant: "forget",
		forget: func(_ *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
			return errors.Join(next(ctx, topic, publisher), next(ctx, topic, strings.TrimSuffix(publisher, "1")+"2"))
		},
	},
	{
		name: "forgets the publisher on all topics", meant: "forget",
		forget: func(r *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
			errs := []error{next(ctx, topic, publisher)}
			for _, other := range r.state.topics {
				errs = append(errs, next(ctx, other, publisher))
			}
			return errors.Join(errs...)
		},
		subscribe: func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
			r.state.topics[topic.Name] = topic
			return next(ctx, topic)
		},
	},
	{
		name: "unsubscribes from what it forgets", meant: "forget",
		forget: func(r *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
			return errors.Join(next(ctx, topic, publisher), r.unsubscribe(ctx, topic))
		},
	},
	{
		name: "takes the next publisher for the one that it forgot", meant: "forget-again",
		publish: func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
			for _, env := range envs {
				env.Publisher = env.Publisher[:len(env.Publisher)-1] + "0"
			}
			next(ctx, envs, results)
		},
	},
	{
		name: "knows nothing that it could not forget", meant: "forget-unknown",
		forget: func(r *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
			if r.state.n.Add(1) > 1 && !strings.HasSuffix(publisher, "1") {
				return errors.New("who is that?")
			}
			return next(ctx, topic, publisher)
		},
	},
	{
		name: "forgets in spite of the error", meant: "forget-unknown",
		forget: func(_ *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
			if err := next(context.WithoutCancel(ctx), topic, publisher); err != nil {
				return err
			}
			return context.Cause(ctx)
		},
	},
	{
		name: "is silent about what a publisher sent that is forgotten", meant: "forget-gap",
		gap: func(*reference, transport.Gap, gapFunc) {},
	},
}
