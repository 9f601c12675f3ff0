package redis_test

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// drivers is what the processes of TestFaults can be.
func drivers() map[string]faultlab.Driver {
	return map[string]faultlab.Driver{
		repairing: busDriver(redis.Config{}),
		standing:  busDriver(redis.Config{Standby: true}),
		reporting: busDriver(redis.Config{Repair: redis.Repair{Off: true}}),
	}
}

// busDriver takes part as applications do: through package bus.
func busDriver(cfg redis.Config) faultlab.Driver {
	return faultlab.Driver{
		OpenSender: func(ctx context.Context, s faultlab.ProcessConfig) (faultlab.Sender, error) {
			return openClient(ctx, s, cfg)
		},
		OpenReceiver: func(ctx context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) (faultlab.Receiver, error) {
			p, err := openClient(ctx, s, cfg)
			if err != nil {
				return faultlab.Receiver{}, err
			}
			index := map[string]int{}
			for i, topic := range p.topics {
				index[s.Channels[i]] = i
				_, err := topic.Subscribe(ctx, "faultlab", func(_ context.Context, text string) error {
					r.Got(text)
					return nil
				}, bus.OnGap(func(g bus.Gap) {
					r.Gap(faultlab.Gap{
						Topic: index[g.Topic], Publisher: g.Publisher, From: g.From, To: g.To, Count: g.Count,
						Uncertain: g.Kind == transport.Uncertain, Reason: g.Reason.String(),
					})
				}))
				if err != nil {
					return faultlab.Receiver{}, err
				}
			}
			return faultlab.Receiver{Close: p.close, Voided: func() (n uint64) {
				for _, channel := range s.Channels {
					n += p.transport.Ledger(transport.Topic{Name: channel}).Voided
				}
				return n
			}}, nil
		},
	}
}

// busClient is one bus with all topics.
type busClient struct {
	transport *numbers
	bus       *bus.Bus
	topics    []*bus.Topic[string]
}

func openClient(ctx context.Context, s faultlab.ProcessConfig, cfg redis.Config) (*busClient, error) {
	cfg.Addrs = s.Addrs
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &busClient{transport: &numbers{Transport: tr}}
	if p.bus, err = bus.New(bus.Config{Transport: p.transport}); err != nil {
		return nil, err
	}
	for _, channel := range s.Channels {
		topic, err := bus.NewTopic(p.bus, bus.TopicConfig[string]{Name: channel})
		if err != nil {
			return nil, err
		}
		p.topics = append(p.topics, topic)
	}
	return p, nil
}

// ID makes the busClient a faultlab.Sender.
func (p *busClient) ID() string { return p.bus.ID() }

// Send publishes.
func (p *busClient) Send(ctx context.Context, topic int, text string) (seq uint64, err error) {
	err = p.topics[topic].Publish(context.WithValue(ctx, numberKey{}, &seq), text)
	return seq, err
}

// Close says the last words.
func (p *busClient) Close(ctx context.Context) error {
	return errors.Join(p.bus.Shutdown(ctx), p.transport.Close())
}

func (p *busClient) close() error { return errors.Join(p.bus.Close(), p.transport.Close()) }

// numbers tells a publisher which number its event was given.
type numbers struct{ *redis.Transport }

type numberKey struct{}

func (n *numbers) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	n.Transport.Publish(ctx, envs, results)
	if seq, ok := ctx.Value(numberKey{}).(*uint64); ok {
		*seq = envs[0].Seq
	}
}
