package redis_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// delays collects how long events were under way, by the time that they carry.
type delays struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *delays) note(sent string) {
	n, err := strconv.ParseInt(sent, 10, 64)
	if err != nil {
		return
	}
	took := time.Duration(time.Now().UnixNano() - n)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, took)
}

func (d *delays) Deliver(env *transport.Envelope) { d.note(string(env.Payload)) }
func (d *delays) Gap(transport.Gap)               {}

// BenchmarkLatency publishes 5,000 events a second from 50 goroutines and reports how long they took to arrive, beside
// rueidis with a dedicated connection and hooks. One op is one event, so -benchtime 25000x is five seconds.
func BenchmarkLatency(b *testing.B) {
	s := redistest.Standalone(b, redistest.Config{})
	b.Run("raw", func(b *testing.B) {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1})
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		d := new(delays)
		conn, release := client.Dedicate()
		defer release()
		conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: func(m rueidis.PubSubMessage) { d.note(m.Message) }})
		if err := conn.Do(b.Context(), conn.B().Ssubscribe().Channel("latency").Build()).Error(); err != nil {
			b.Fatal(err)
		}
		latency(b, d, func(text string) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			return client.Do(ctx, client.B().Spublish().Channel("latency").Message(text).Build()).Error()
		})
	})
	for _, compact := range []bool{false, true} {
		b.Run("ours/compact="+strconv.FormatBool(compact), func(b *testing.B) {
			d := new(delays)
			cfg := redis.Config{Addrs: []string{s.Addr()}, Compact: compact}
			sub, pub := benchServe(b, cfg, d), benchServe(b, cfg, new(counter))
			if err := sub.Subscribe(b.Context(), transport.Topic{Name: "latency"}); err != nil {
				b.Fatal(err)
			}
			latency(b, d, func(text string) error { return publishOne(pub, text) })
		})
	}
}

func publishOne(pub *redis.Transport, text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	results := make([]transport.Result, 1)
	pub.Publish(ctx, []*transport.Envelope{{Topic: "latency", Publisher: "p", ID: "x", Payload: []byte(text)}}, results)
	return results[0].Err
}

func latency(b *testing.B, d *delays, publish func(text string) error) {
	const goroutines, rate = 50, 5000
	var wg sync.WaitGroup
	b.ResetTimer()
	for g := range goroutines {
		wg.Go(func() {
			tick := time.NewTicker(time.Second * goroutines / rate)
			defer tick.Stop()
			for range (b.N + g) / goroutines {
				<-tick.C
				if err := publish(strconv.FormatInt(time.Now().UnixNano(), 10)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.all)
	if n := len(d.all); n > 0 {
		b.ReportMetric(float64(d.all[n/2].Microseconds()), "p50-µs")
		b.ReportMetric(float64(d.all[n*99/100].Microseconds()), "p99-µs")
	}
}
