// Package busdriver lets shardbus take part in experiments of package faultlab as applications use it: through package
// bus, on Redis.
package busdriver

import (
	"context"
	"errors"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// New returns a driver whose processes have one bus each. The addresses in cfg are replaced by those of the cluster.
func New(cfg redis.Config) faultlab.Driver {
	return faultlab.Driver{
		OpenSender: func(ctx context.Context, s faultlab.ProcessConfig) (faultlab.Sender, error) {
			return open(ctx, s, cfg)
		},
		OpenReceiver: func(ctx context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) (faultlab.Receiver, error) {
			c, err := open(ctx, s, cfg)
			if err != nil {
				return faultlab.Receiver{}, err
			}
			if err := c.subscribe(ctx, s, r); err != nil {
				return faultlab.Receiver{}, err
			}
			return faultlab.Receiver{Close: c.close, Voided: func() (n uint64) {
				for _, channel := range s.Channels {
					n += c.transport.Ledger(transport.Topic{Name: channel}).Voided
				}
				return n
			}}, nil
		},
	}
}

// client is one bus with all topics.
type client struct {
	transport *numbering
	bus       *bus.Bus
	topics    []*bus.Topic[string]
}

func open(ctx context.Context, s faultlab.ProcessConfig, cfg redis.Config) (*client, error) {
	cfg.Addrs = s.Addrs
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	c := &client{transport: &numbering{Transport: tr}}
	if c.bus, err = bus.New(bus.Config{Transport: c.transport}); err != nil {
		return nil, err
	}
	for _, channel := range s.Channels {
		topic, err := bus.NewTopic(c.bus, bus.TopicConfig[string]{Name: channel})
		if err != nil {
			return nil, err
		}
		c.topics = append(c.topics, topic)
	}
	return c, nil
}

// subscribe has r note what arrives on every topic and what is reported missing.
func (c *client) subscribe(ctx context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) error {
	index := make(map[string]int)
	for i, topic := range c.topics {
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
			return err
		}
	}
	return nil
}

// ID makes the client a faultlab.Sender.
func (c *client) ID() string { return c.bus.ID() }

// Send publishes text and returns the number that its event was given.
func (c *client) Send(ctx context.Context, topic int, text string) (seq uint64, err error) {
	err = c.topics[topic].Publish(context.WithValue(ctx, seqKey{}, &seq), text)
	return seq, err
}

// Close lets the bus end in order, so that its publisher says the last number of each channel.
func (c *client) Close(ctx context.Context) error {
	return errors.Join(c.bus.Shutdown(ctx), c.transport.Close())
}

func (c *client) close() error { return errors.Join(c.bus.Close(), c.transport.Close()) }

// numbering is a transport that tells a publisher which number its event was given.
type numbering struct{ *redis.Transport }

type seqKey struct{}

// Publish publishes envs, and stores the first one's number where the context says.
func (n *numbering) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	n.Transport.Publish(ctx, envs, results)
	if seq, ok := ctx.Value(seqKey{}).(*uint64); ok {
		*seq = envs[0].Seq
	}
}
