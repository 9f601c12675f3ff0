package redis_test

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/proof"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// roles is what the processes of TestFaults can be.
func roles() map[string]proof.Role {
	return map[string]proof.Role{
		repairing: busRole(redis.Config{}),
		standing:  busRole(redis.Config{Standby: true}),
		reporting: busRole(redis.Config{Repair: redis.Repair{Off: true}}),
	}
}

// busRole takes part as applications do: through package bus.
func busRole(cfg redis.Config) proof.Role {
	return proof.Role{
		OpenSender: func(ctx context.Context, s proof.Script) (proof.Sender, error) {
			return openPlayer(ctx, s, cfg)
		},
		OpenReceiver: func(ctx context.Context, s proof.Script, r *proof.Receipts) (proof.Receiver, error) {
			p, err := openPlayer(ctx, s, cfg)
			if err != nil {
				return proof.Receiver{}, err
			}
			index := map[string]int{}
			for i, topic := range p.topics {
				index[s.Channels[i]] = i
				_, err := topic.Subscribe(ctx, "proof", func(_ context.Context, text string) error {
					r.Got(text)
					return nil
				}, bus.OnGap(func(g bus.Gap) {
					r.Gap(proof.Gap{
						Topic: index[g.Topic], Publisher: g.Publisher, From: g.From, To: g.To, Count: g.Count,
						Uncertain: g.Kind == transport.Uncertain, Reason: g.Reason.String(),
					})
				}))
				if err != nil {
					return proof.Receiver{}, err
				}
			}
			return proof.Receiver{Close: p.close, Voided: func() (n uint64) {
				for _, channel := range s.Channels {
					n += p.transport.Ledger(transport.Topic{Name: channel}).Voided
				}
				return n
			}}, nil
		},
	}
}

// player is one bus with all topics.
type player struct {
	transport *numbers
	bus       *bus.Bus
	topics    []*bus.Topic[string]
}

func openPlayer(ctx context.Context, s proof.Script, cfg redis.Config) (*player, error) {
	cfg.Addrs = s.Addrs
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	p := &player{transport: &numbers{Transport: tr}}
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

// ID makes the player a proof.Sender.
func (p *player) ID() string { return p.bus.ID() }

// Send publishes.
func (p *player) Send(ctx context.Context, topic int, text string) (seq uint64, err error) {
	err = p.topics[topic].Publish(context.WithValue(ctx, numberKey{}, &seq), text)
	return seq, err
}

// Close says the last words.
func (p *player) Close(ctx context.Context) error {
	return errors.Join(p.bus.Shutdown(ctx), p.transport.Close())
}

func (p *player) close() error { return errors.Join(p.bus.Close(), p.transport.Close()) }

// numbers tells a publisher which number its event was given.
type numbers struct{ *redis.Transport }

type numberKey struct{}

func (n *numbers) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	n.Transport.Publish(ctx, envs, results)
	if seq, ok := ctx.Value(numberKey{}).(*uint64); ok {
		*seq = envs[0].Seq
	}
}
