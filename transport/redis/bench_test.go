package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

const (
	benchTopics = 64
	benchRounds = 7
	benchRound  = 300 * time.Millisecond
)

// BenchmarkBeside compares how many events a second we publish, and deliver, with what rueidis does with the same
// documents, from as many goroutines or in the same batches, on one standalone server. The contestants take turns in
// short rounds; a round ends when the last event was received. What is reported are medians: of the events a second of
// each, and of the ratios of neighbouring rounds, in events a second and in the CPU time of this process. One op is all
// rounds, so it is to be run with -benchtime 1x: make bench-redis.
func BenchmarkBeside(b *testing.B) {
	s := redistest.Standalone(b, redistest.Config{})
	for _, compact := range []bool{false, true} {
		for _, subscribers := range []int{0, 1} {
			for _, load := range []writerBatch{{1, 1}, {64, 1}, {512, 1}, {1, 100}, {8, 100}} {
				name := fmt.Sprintf("compact=%v/subscribers=%d/goroutines=%d/batch=%d", compact, subscribers, load.goroutines, load.batch)
				b.Run(name, func(b *testing.B) {
					cfg := redis.Config{Addrs: []string{s.Addr()}, Compact: compact}
					raw := newRaw(b, cfg, "raw", subscribers)
					ours := newOurs(b, cfg, "our", subscribers)
					cfg.Repair.Off = true
					bare := newOurs(b, cfg, "off", subscribers)
					beside(b, load, raw, ours, bare)
				})
			}
		}
	}
}

// contestant publishes events, and counts those that its subscriber received; nil: it has none.
type contestant struct {
	prefix   string
	publish  func(envs []*transport.Envelope) error
	received *atomic.Int64
}

// load is how a round publishes.
type writerBatch struct{ goroutines, batch int }

// pace is what a round gave.
type pace struct{ perSecond, cpu float64 } // events, nanoseconds an event

func beside(b *testing.B, l writerBatch, raw, ours, bare *contestant) {
	all := []*contestant{raw, ours, bare}
	paces := make(map[*contestant][]pace)
	for _, c := range all {
		round(b, c, l, benchRound/3) // to warm up
	}
	b.ResetTimer()
	for range b.N {
		for i := range benchRounds {
			for k := range all {
				c := all[(i+k)%len(all)]
				paces[c] = append(paces[c], round(b, c, l, benchRound))
			}
		}
	}
	perSecond := func(p pace) float64 { return p.perSecond }
	cpu := func(p pace) float64 { return p.cpu }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(paces[raw], perSecond), "raw/s")
	b.ReportMetric(median(paces[ours], perSecond), "ours/s")
	b.ReportMetric(ratio(paces[ours], paces[raw], perSecond), "ours÷raw")
	b.ReportMetric(ratio(paces[bare], paces[raw], perSecond), "unrepaired÷raw")
	b.ReportMetric(median(paces[raw], cpu), "raw-cpu-ns")
	b.ReportMetric(median(paces[ours], cpu), "ours-cpu-ns")
	b.ReportMetric(ratio(paces[raw], paces[ours], cpu), "cpu-raw÷ours")
}

// round publishes for a while, and until all was received.
func round(b *testing.B, c *contestant, l writerBatch, length time.Duration) pace {
	runtime.GC() // each round begins alike
	var sent atomic.Int64
	var stop atomic.Bool
	var running sync.WaitGroup
	before := int64(0)
	if c.received != nil {
		before = c.received.Load()
	}
	start, cpuStart := time.Now(), cpuTime(b)
	for g := range l.goroutines {
		running.Go(func() {
			envs := make([]*transport.Envelope, l.batch)
			n := 0
			for !stop.Load() {
				for i := range envs {
					envs[i] = benchEnvelope(c.prefix, g+i)
				}
				if err := c.publish(envs); err != nil {
					b.Error(err)
					return
				}
				n += len(envs)
			}
			sent.Add(int64(n))
		})
	}
	ended := time.AfterFunc(length, func() { stop.Store(true) })
	defer ended.Stop()
	running.Wait()
	for c.received != nil && c.received.Load()-before < sent.Load() {
		runtime.Gosched()
	}
	took, used := time.Since(start), cpuTime(b)-cpuStart
	return pace{perSecond: float64(sent.Load()) / took.Seconds(), cpu: float64(used) / float64(sent.Load())}
}

// cpuTime is what this process has used so far. On a machine that does other work too it tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median[T any](all []T, of func(T) float64) float64 {
	values := make([]float64, len(all))
	for i, one := range all {
		values[i] = of(one)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// ratio is the median of the ratios of rounds that stood beside each other.
func ratio[T any](above, below []T, of func(T) float64) float64 {
	values := make([]float64, len(above))
	for i := range above {
		values[i] = of(above[i]) / of(below[i])
	}
	return median(values, func(v float64) float64 { return v })
}

var benchNames = func() map[string][]string {
	names := make(map[string][]string)
	for _, prefix := range []string{"raw", "our", "off"} {
		for i := range benchTopics {
			names[prefix] = append(names[prefix], fmt.Sprintf("%s.bench.%d", prefix, i))
		}
	}
	return names
}()

func benchEnvelope(prefix string, i int) *transport.Envelope {
	return &transport.Envelope{
		Topic: benchNames[prefix][i%benchTopics], Publisher: "0123456789abcdef", ID: "0123456789abcdef-1234567",
		ContentType: "application/json", Payload: []byte(`{"date":"2026-03-01","origin":"SFO","destination":"JFK","delay":17,"distance":2586,"carrier":"ZZ","flight":1234,"tail":"N00001"}`),
	}
}

// counter counts what arrives.
type counter struct{ n atomic.Int64 }

func (c *counter) Deliver(*transport.Envelope) { c.n.Add(1) }
func (c *counter) Gap(g transport.Gap)         { c.n.Add(int64(g.Count)) }

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

// newOurs publishes by one transport and receives by another.
func newOurs(b *testing.B, cfg redis.Config, prefix string, subscribers int) *contestant {
	c := &contestant{prefix: prefix}
	if subscribers > 0 {
		count := new(counter)
		c.received = &count.n
		sub := benchServe(b, cfg, count)
		for _, name := range benchNames[prefix] {
			if err := sub.Subscribe(b.Context(), transport.Topic{Name: name}); err != nil {
				b.Fatal(err)
			}
		}
	}
	pub := benchServe(b, cfg, new(counter))
	results := sync.Pool{New: func() any { return new([]transport.Result) }}
	c.publish = func(envs []*transport.Envelope) error {
		kept := results.Get().(*[]transport.Result) //nolint:forcetypeassert // see New
		defer results.Put(kept)
		*kept = slices.Grow((*kept)[:0], len(envs))[:len(envs)]
		pub.Publish(context.Background(), envs, *kept)
		for i := range *kept {
			if err := (*kept)[i].Err; err != nil {
				return err
			}
		}
		return nil
	}
	return c
}
