package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// rawChannels is a dedicated connection to each primary, with one pipeline of an SSUBSCRIBE for each slot.
type rawChannels struct {
	cluster  *redistest.Cluster
	channels map[string][]string // by the address of the primary
	mu       sync.Mutex
	// mu guards closers.
	closers   []func()
	confirmed atomic.Int64
}

func openRawChannels(_ context.Context, c *redistest.Cluster) (subscribing, error) {
	return &rawChannels{cluster: c, channels: make(map[string][]string)}, nil
}

func (r *rawChannels) subscribe(ctx context.Context, channels []string) error {
	primaries, err := r.cluster.Primaries(ctx)
	if err != nil {
		return err
	}
	var owners [redistest.SlotCount]string
	for _, p := range primaries {
		view, err := p.View(ctx)
		if err != nil {
			return err
		}
		for _, span := range view.Myself().Slots {
			for slot := span.First; slot <= span.Last; slot++ {
				owners[slot] = p.Addr()
			}
		}
	}
	for _, channel := range channels {
		owner := owners[faultlab.SlotOf(channel)]
		r.channels[owner] = append(r.channels[owner], channel)
	}
	return all(primaries, func(p *redistest.Server) error { return r.at(ctx, p.Addr(), r.channels[p.Addr()]) })
}

// at subscribes to channels at a node, and returns when all are confirmed.
func (r *rawChannels) at(ctx context.Context, addr string, channels []string) error {
	option := single(addr)
	option.Dialer.Timeout = time.Second
	client, err := rueidis.NewClient(option)
	if err != nil {
		return err
	}
	conn, closeConn := client.Dedicate()
	r.mu.Lock()
	r.closers = append(r.closers, func() { closeConn(); client.Close() })
	r.mu.Unlock()
	left := int64(len(channels))
	done := make(chan struct{})
	conn.SetPubSubHooks(rueidis.PubSubHooks{OnSubscription: func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" && atomic.AddInt64(&left, -1) == 0 {
			close(done)
		}
	}})
	bySlot := make(map[int][]string)
	for _, channel := range channels {
		bySlot[faultlab.SlotOf(channel)] = append(bySlot[faultlab.SlotOf(channel)], channel)
	}
	commands := make(rueidis.Commands, 0, len(bySlot))
	for _, some := range bySlot {
		commands = append(commands, conn.B().Ssubscribe().Channel(some...).Build())
	}
	for _, reply := range conn.DoMulti(ctx, commands...) {
		if err := reply.Error(); err != nil {
			return err
		}
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *rawChannels) again(ctx context.Context, old, now *redistest.Server, want int) error {
	if len(r.channels[old.Addr()]) != want {
		return fmt.Errorf("%d channels were there, not %d", len(r.channels[old.Addr()]), want)
	}
	return r.at(ctx, now.Addr(), r.channels[old.Addr()])
}

func (r *rawChannels) close() error {
	for _, closeOne := range r.closers {
		closeOne()
	}
	return nil
}

// ourChannels is the transport, with a Subscribe for each channel.
type ourChannels struct {
	transport *redis.Transport
	stop      func() error
}

// nothing is a sink.
type nothing struct{}

func (nothing) Deliver(*transport.Envelope) {}
func (nothing) Gap(transport.Gap)           {}

// openOurChannels returns when the transport has its connections, and one channel.
func openOurChannels(m mode) func(ctx context.Context, c *redistest.Cluster) (subscribing, error) {
	return func(ctx context.Context, c *redistest.Cluster) (subscribing, error) {
		cfg := m.config
		cfg.Addrs = c.Addrs()
		cfg.ProbeInterval = -1 // a probe's channel may or may not be there when they are counted
		tr, stop, err := servedWith(ctx, cfg, nothing{})
		if err != nil {
			return nil, err
		}
		o := &ourChannels{transport: tr, stop: stop}
		if err := o.subscribe(ctx, []string{"first"}); err != nil {
			return nil, errors.Join(err, o.close())
		}
		return o, nil
	}
}

func (o *ourChannels) subscribe(ctx context.Context, channels []string) error {
	return all(channels, func(name string) error { return o.transport.Subscribe(ctx, transport.Topic{Name: name}) })
}

// again asks the server.
func (o *ourChannels) again(ctx context.Context, _, now *redistest.Server, want int) error {
	watch, err := rueidis.NewClient(single(now.Addr()))
	if err != nil {
		return err
	}
	defer watch.Close()
	for {
		list, err := watch.Do(ctx, watch.B().ClientList().TypePubsub().Build()).ToString()
		if err != nil {
			return err
		}
		if subscriptions(list) >= want {
			return nil
		}
		pause(ctx, 2*time.Millisecond)
	}
}

func (o *ourChannels) close() error { return o.stop() }

// subscriptions adds up the sharded subscriptions in a CLIENT LIST.
func subscriptions(list string) (n int) {
	for field := range strings.FieldsSeq(list) {
		if text, ok := strings.CutPrefix(field, "ssub="); ok {
			count, err := strconv.Atoi(text)
			if err == nil {
				n += count
			}
		}
	}
	return n
}
