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
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

const (
	latencyRate       = 5000 // events a second
	latencyGoroutines = 50
	latencyRounds     = 9
	latencyEvents     = latencyRate // of a round: one second
)

// BenchmarkBesideLatency publishes 5,000 events a second from 50 goroutines and compares how long they took from before
// Publish to the sink with rueidis and the same documents, up to its hook, which decodes them. The contestants take turns; what is reported
// are medians of their rounds' percentiles, and of the ratios of neighbouring rounds.
func BenchmarkBesideLatency(b *testing.B) {
	s := redistest.Standalone(b, redistest.Config{})
	for _, compact := range []bool{false, true} {
		b.Run("compact="+strconv.FormatBool(compact), func(b *testing.B) {
			cfg := redis.Config{Addrs: []string{s.Addr()}, Compact: compact}
			raw, ours := newRawDelays(b, cfg), newOurDelays(b, cfg)
			var rawRounds, ourRounds []delay
			raw.round(b)
			ours.round(b)
			b.ResetTimer()
			for range b.N {
				for i := range latencyRounds {
					if i%2 == 0 {
						rawRounds = append(rawRounds, raw.round(b))
						ourRounds = append(ourRounds, ours.round(b))
					} else {
						ourRounds = append(ourRounds, ours.round(b))
						rawRounds = append(rawRounds, raw.round(b))
					}
				}
			}
			p50 := func(d delay) float64 { return d.p50 }
			p99 := func(d delay) float64 { return d.p99 }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(rawRounds, p50), "raw-p50-µs")
			b.ReportMetric(median(ourRounds, p50), "ours-p50-µs")
			b.ReportMetric(ratio(ourRounds, rawRounds, p50), "p50-ours÷raw")
			b.ReportMetric(median(rawRounds, p99), "raw-p99-µs")
			b.ReportMetric(median(ourRounds, p99), "ours-p99-µs")
			b.ReportMetric(ratio(ourRounds, rawRounds, p99), "p99-ours÷raw")
		})
	}
}

// delay is what a round took, in microseconds.
type delay struct{ p50, p99 float64 }

// delays collects how long events were under way, by the time that is their payload: 19 digits.
type delays struct {
	publish func(ctx context.Context, env *transport.Envelope) error

	mu   sync.Mutex
	took []time.Duration
	all  chan struct{} // a round's events have arrived
}

func (d *delays) note(sent string) {
	n, err := strconv.ParseInt(sent, 10, 64)
	if err != nil {
		return
	}
	took := time.Duration(time.Now().UnixNano() - n)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.took = append(d.took, took); len(d.took) == latencyEvents {
		d.all <- struct{}{}
	}
}

func (d *delays) Deliver(env *transport.Envelope) { d.note(string(env.Payload)) }
func (d *delays) Gap(transport.Gap)               {}

func (d *delays) round(b *testing.B) delay {
	var running sync.WaitGroup
	for g := range latencyGoroutines {
		running.Go(func() {
			// One begins after the other, so that it is a stream and not bursts.
			begin := time.NewTimer(time.Duration(g) * time.Second / latencyRate)
			defer begin.Stop()
			<-begin.C
			tick := time.NewTicker(time.Second * latencyGoroutines / latencyRate)
			defer tick.Stop()
			for range latencyEvents / latencyGoroutines {
				<-tick.C
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				err := d.publish(ctx, &transport.Envelope{
					Topic: "latency", Publisher: "0123456789abcdef", ID: "0123456789abcdef-1234567",
					Payload: strconv.AppendInt(nil, time.Now().UnixNano(), 10),
				})
				cancel()
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	if b.Failed() {
		b.FailNow()
	}
	<-d.all
	d.mu.Lock()
	defer d.mu.Unlock()
	slices.Sort(d.took)
	at := func(percent int) float64 { return float64(d.took[len(d.took)*percent/100].Nanoseconds()) / 1000 }
	result := delay{p50: at(50), p99: at(99)}
	d.took = d.took[:0]
	return result
}

func newOurDelays(b *testing.B, cfg redis.Config) *delays {
	d := &delays{all: make(chan struct{}, 1)}
	sub, pub := benchServe(b, cfg, d), benchServe(b, cfg, new(counter))
	if err := sub.Subscribe(b.Context(), transport.Topic{Name: "latency"}); err != nil {
		b.Fatal(err)
	}
	d.publish = func(ctx context.Context, env *transport.Envelope) error {
		results := make([]transport.Result, 1)
		pub.Publish(ctx, []*transport.Envelope{env}, results)
		return results[0].Err
	}
	return d
}

func newRawDelays(b *testing.B, cfg redis.Config) *delays {
	d := &delays{all: make(chan struct{}, 1)}
	encode := wire.Append
	if cfg.Compact {
		encode = wire.AppendCompact
	}
	rawListen(b, cfg, []string{"rawtest"}, func(message string) {
		env := new(transport.Envelope)
		if _, ok := wire.Decode(message, env); ok {
			d.note(string(env.Payload))
		}
	})
	client := rawClient(b, cfg)
	d.publish = func(ctx context.Context, env *transport.Envelope) error {
		doc, at := encode(nil, env, "")
		wire.PutSequence(doc, at, 1234567)
		return client.Do(ctx, client.B().Spublish().Channel("rawtest").Message(rueidis.BinaryString(doc)).Build()).Error()
	}
	return d
}
