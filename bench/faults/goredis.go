package main

import (
	"context"
	"sync"

	goredis "github.com/redis/go-redis/v9"
	"github.com/shardbus/shardbus/internal/faultlab"
)

// goredisDriver uses go-redis as it comes: an SSubscribe for each channel, because one covers one slot, and its Channel.
var goredisDriver = faultlab.Driver{
	OpenSender: func(_ context.Context, s faultlab.ProcessConfig) (faultlab.Sender, error) {
		return goredisSender{ClusterClient: openGoredis(s), channels: s.Channels}, nil
	},
	OpenReceiver: func(ctx context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) (faultlab.Receiver, error) {
		client := openGoredis(s)
		var running sync.WaitGroup
		var subscriptions []*goredis.PubSub
		for _, channel := range s.Channels {
			sub := client.SSubscribe(ctx, channel)
			subscriptions = append(subscriptions, sub)
			if _, err := sub.Receive(ctx); err != nil { // the confirmation
				return faultlab.Receiver{}, err
			}
			running.Go(func() {
				for m := range sub.Channel() {
					r.Got(m.Payload)
				}
			})
		}
		return faultlab.Receiver{Close: func() error {
			for _, sub := range subscriptions {
				_ = sub.Close() // a connection that is broken already is no matter
			}
			running.Wait()
			return client.Close()
		}}, nil
	},
}

// mute keeps a line for every failed dial off the screen.
type mute struct{}

func (mute) Printf(context.Context, string, ...any) {}

func openGoredis(s faultlab.ProcessConfig) *goredis.ClusterClient {
	goredis.SetLogger(mute{})
	return goredis.NewClusterClient(&goredis.ClusterOptions{Addrs: s.Addrs})
}

type goredisSender struct {
	*goredis.ClusterClient
	channels []string
}

func (goredisSender) ID() string { return "" }

func (p goredisSender) Send(ctx context.Context, topic int, text string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, rawTimeout)
	defer cancel()
	return 0, p.SPublish(ctx, p.channels[topic], text).Err()
}

func (p goredisSender) Close(context.Context) error { return p.ClusterClient.Close() }
