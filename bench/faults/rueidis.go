package main

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/internal/faultlab"
)

// rueidisDriver uses rueidis as it comes, but for the deadline that a Publish wants.
var rueidisDriver = faultlab.Driver{
	OpenSender: func(_ context.Context, s faultlab.ProcessConfig) (faultlab.Sender, error) {
		client, err := openRueidis(s)
		return rueidisSender{Client: client, channels: s.Channels}, err
	},
	OpenReceiver: func(_ context.Context, s faultlab.ProcessConfig, r *faultlab.Recorder) (faultlab.Receiver, error) {
		client, err := openRueidis(s)
		if err != nil {
			return faultlab.Receiver{}, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for _, channel := range s.Channels {
			running.Go(func() {
				for ctx.Err() == nil { // Receive returns when its channel is unsubscribed
					err := client.Receive(ctx, client.B().Ssubscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
						r.Got(m.Message)
					})
					if err != nil {
						pause(ctx, 10*time.Millisecond)
					}
				}
			})
		}
		return faultlab.Receiver{Close: func() error {
			cancel()
			client.Close()
			running.Wait()
			return nil
		}}, nil
	},
}

func openRueidis(s faultlab.ProcessConfig) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: s.Addrs, DisableCache: true})
}

// rawTimeout bounds a Publish of clients that have no deadline of their own.
const rawTimeout = time.Second

type rueidisSender struct {
	rueidis.Client
	channels []string
}

func (rueidisSender) ID() string { return "" }

func (p rueidisSender) Send(ctx context.Context, topic int, text string) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, rawTimeout)
	defer cancel()
	return 0, p.Do(ctx, p.B().Spublish().Channel(p.channels[topic]).Message(text).Build()).Error()
}

func (p rueidisSender) Close(context.Context) error {
	p.Client.Close()
	return nil
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
