package redis_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// rawClient is rueidis as one would use it for this: its own pipelining, its default buffers, one connection.
func rawClient(b *testing.B, cfg redis.Config) rueidis.Client {
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: cfg.Addrs, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	return client
}

// rawListen subscribes a connection's hooks, which is the fastest that rueidis has.
func rawListen(b *testing.B, cfg redis.Config, names []string, hook func(message string)) {
	conn, release := rawClient(b, cfg).Dedicate()
	b.Cleanup(release)
	conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { hook(m.Message) }})
	for _, name := range names {
		if err := conn.Do(b.Context(), conn.B().Ssubscribe().Channel(name).Build()).Error(); err != nil {
			b.Fatal(err)
		}
	}
}

// newRaw encodes and sends the documents that we would, numbers included. Its subscriber decodes them in the hook, as we do,
// and counts, but does not look whether one is missing.
func newRaw(b *testing.B, cfg redis.Config, prefix string, subscribers int) *contestant {
	c := &contestant{prefix: prefix}
	if subscribers > 0 {
		c.received = new(atomic.Int64)
		rawListen(b, cfg, benchNames[prefix], func(message string) {
			env := new(transport.Envelope)
			if _, ok := wire.Decode(message, env); ok {
				c.received.Add(1)
			}
		})
	}
	client := rawClient(b, cfg)
	encode := wire.Append
	if cfg.Compact {
		encode = wire.AppendCompact
	}
	c.publish = func(envs []*transport.Envelope) error {
		commands := make(rueidis.Commands, len(envs))
		for i, env := range envs {
			doc, at := encode(nil, env, "")
			wire.PutSequence(doc, at, 1234567)
			commands[i] = client.B().Spublish().Channel(env.Topic).Message(rueidis.BinaryString(doc)).Build()
		}
		if len(commands) == 1 {
			return client.Do(context.Background(), commands[0]).Error()
		}
		for _, r := range client.DoMulti(context.Background(), commands...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}
