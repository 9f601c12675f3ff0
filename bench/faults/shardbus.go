package main

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// mode is a way to configure shardbus.
type mode struct {
	name     string
	complete bool // nothing accepted may be missing
	set      func(*redis.Config)
}

// modes is all of them. A client of its own comes of each.
var modes = []mode{
	{name: "shardbus", complete: true, set: func(*redis.Config) {}},
	{name: "standby", complete: true, set: func(c *redis.Config) { c.Standby = true }},
	{name: "repair-off", set: func(c *redis.Config) { c.Repair.Off = true }},
}

// shardbusDriver takes part as applications do: through package bus.
func shardbusDriver(m mode) faultlab.Driver {
	return faultlab.Driver{
		OpenSender: func(ctx context.Context, s faultlab.ProcessConfig) (faultlab.Sender, error) {
			p := &shardbusSender{}
			if err := p.open(ctx, m, s); err != nil {
				return nil, err
			}
			return p, nil
		},
		OpenReceiver: func(ctx context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) (faultlab.Receiver, error) {
			p := &shardbusSender{}
			if err := p.open(ctx, m, s); err != nil {
				return faultlab.Receiver{}, err
			}
			index := make(map[string]int)
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
			voided := func() (n uint64) {
				for _, channel := range s.Channels {
					n += p.transport.Ledger(transport.Topic{Name: channel}).Voided
				}
				return n
			}
			return faultlab.Receiver{Close: func() error { return errors.Join(p.bus.Close(), p.transport.Close()) }, Voided: voided}, nil
		},
	}
}

// shardbusSender is one bus with all topics.
type shardbusSender struct {
	transport *numbering
	bus       *bus.Bus
	topics    []*bus.Topic[string]
}

func (p *shardbusSender) open(ctx context.Context, m mode, s faultlab.ProcessConfig) error {
	cfg := redis.Config{Addrs: s.Addrs}
	m.set(&cfg)
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		return err
	}
	p.transport = &numbering{Transport: tr}
	if p.bus, err = bus.New(bus.Config{Transport: p.transport}); err != nil {
		return err
	}
	for _, channel := range s.Channels {
		topic, err := bus.NewTopic(p.bus, bus.TopicConfig[string]{Name: channel})
		if err != nil {
			return err
		}
		p.topics = append(p.topics, topic)
	}
	return nil
}

func (p *shardbusSender) ID() string { return p.bus.ID() }

func (p *shardbusSender) Send(ctx context.Context, topic int, text string) (seq uint64, err error) {
	err = p.topics[topic].Publish(context.WithValue(ctx, seqKey{}, &seq), text)
	return seq, err
}

func (p *shardbusSender) Close(ctx context.Context) error {
	return errors.Join(p.bus.Shutdown(ctx), p.transport.Close())
}

// numbering tells a publisher which number its event was given.
type numbering struct{ *redis.Transport }

type seqKey struct{}

func (n *numbering) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	n.Transport.Publish(ctx, envs, results)
	if seq, ok := ctx.Value(seqKey{}).(*uint64); ok {
		*seq = envs[0].Seq
	}
}
