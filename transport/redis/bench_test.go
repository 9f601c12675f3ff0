package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// BenchmarkPublish compares Publish with what rueidis does with the same documents and as many goroutines, or the same
// batches, on one standalone server; with and without a subscriber of our own in the same process.
func BenchmarkPublish(b *testing.B) {
	s := redistest.Standalone(b, redistest.Config{})
	for _, compact := range []bool{false, true} {
		for _, subscribers := range []int{0, 1} {
			for _, c := range []struct{ goroutines, batch int }{{1, 1}, {64, 1}, {512, 1}, {1, 100}, {8, 100}} {
				name := fmt.Sprintf("compact=%v/subscribers=%d/goroutines=%d/batch=%d", compact, subscribers, c.goroutines, c.batch)
				cfg := redis.Config{Addrs: []string{s.Addr()}, Compact: compact}
				b.Run(name+"/raw", func(b *testing.B) { benchRaw(b, cfg, subscribers, c.goroutines, c.batch) })
				b.Run(name+"/ours", func(b *testing.B) { benchOurs(b, cfg, subscribers, c.goroutines, c.batch) })
				cfg.Repair.Off = true
				b.Run(name+"/without repair", func(b *testing.B) { benchOurs(b, cfg, subscribers, c.goroutines, c.batch) })
			}
		}
	}
}

const benchTopics = 64

func benchEnvelope(i int) *transport.Envelope {
	return &transport.Envelope{
		Topic: fmt.Sprintf("bench.%d", i%benchTopics), Publisher: "0123456789abcdef", ID: "0123456789abcdef-1234567",
		ContentType: "application/json", Payload: []byte(`{"date":"2026-03-01","origin":"SFO","destination":"JFK","delay":17,"distance":2586,"carrier":"ZZ","flight":1234,"tail":"N00001"}`),
	}
}

// counter counts what arrives.
type counter struct{ n atomic.Int64 }

func (c *counter) Deliver(*transport.Envelope) { c.n.Add(1) }
func (c *counter) Gap(g transport.Gap)         { c.n.Add(int64(g.Count)) }

// listen subscribes to the topics, and returns what it counts by.
func listen(b *testing.B, cfg redis.Config, subscribers int) *counter {
	count := new(counter)
	if subscribers == 0 {
		return count
	}
	n := benchServe(b, cfg, count)
	for i := range benchTopics {
		if err := n.Subscribe(b.Context(), transport.Topic{Name: fmt.Sprintf("bench.%d", i)}); err != nil {
			b.Fatal(err)
		}
	}
	return count
}

func benchServe(b *testing.B, cfg redis.Config, sink transport.Sink) *redis.Transport {
	tr, err := redis.Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tr.Serve(ctx, sink) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return tr
}

func parallel(b *testing.B, goroutines int, body func(pb *testing.PB)) {
	b.SetParallelism(max(1, goroutines/runtime.GOMAXPROCS(0)))
	if goroutines == 1 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		// RunParallel starts GOMAXPROCS goroutines at least; let one do all.
		var taken atomic.Bool
		inner := body
		body = func(pb *testing.PB) {
			if taken.CompareAndSwap(false, true) {
				inner(pb)
			}
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(body)
}

// cpu is what this process has used so far. On a machine that does other work too it tells more than the clock.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, batch int, count *counter, subscribers int, before time.Duration) {
	if subscribers > 0 {
		for count.n.Load() < int64(b.N*batch) {
			runtime.Gosched()
		}
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N*batch), "cpu-ns/event")
}

func benchOurs(b *testing.B, cfg redis.Config, subscribers, goroutines, batch int) {
	count := listen(b, cfg, subscribers)
	tr := benchServe(b, cfg, new(counter))
	var next atomic.Int64
	before := cpu(b)
	parallel(b, goroutines, func(pb *testing.PB) {
		id := int(next.Add(1))
		envs, results := make([]*transport.Envelope, batch), make([]transport.Result, batch)
		for pb.Next() {
			for i := range envs {
				envs[i] = benchEnvelope(id + i)
			}
			tr.Publish(context.Background(), envs, results)
			for i := range results {
				if results[i].Err != nil {
					b.Error(results[i].Err)
					return
				}
			}
		}
	})
	report(b, batch, count, subscribers, before)
}

func benchRaw(b *testing.B, cfg redis.Config, subscribers, goroutines, batch int) {
	count := listen(b, cfg, subscribers)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: cfg.Addrs, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	var next atomic.Int64
	before := cpu(b)
	parallel(b, goroutines, func(pb *testing.PB) {
		id := int(next.Add(1))
		commands := make(rueidis.Commands, batch)
		for pb.Next() {
			for i := range commands {
				env := benchEnvelope(id + i)
				env.Publisher = "" // unnumbered: raw does not count
				encode := wire.Append
				if cfg.Compact {
					encode = wire.AppendCompact
				}
				doc, _ := encode(nil, env, "")
				commands[i] = client.B().Spublish().Channel(env.Topic).Message(rueidis.BinaryString(doc)).Build()
			}
			for _, r := range client.DoMulti(context.Background(), commands...) {
				if r.Error() != nil {
					b.Error(r.Error())
					return
				}
			}
		}
	})
	report(b, batch, count, subscribers, before)
}
