package appender

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// benchPayload is that of every event of the benchmarks.
var benchPayload = make([]byte, 128)

func benchEvent() *transport.Envelope {
	return &transport.Envelope{Publisher: "0123456789abcdef", ID: "0123456789abcdef-1", Payload: benchPayload, ContentType: "application/json"}
}

// during has publishers call publish for d, and returns how many calls a second returned.
func during(publishers int, d time.Duration, publish func(publisher int, seq uint64)) float64 {
	var running sync.WaitGroup
	var events atomic.Int64
	began := time.Now()
	for n := range publishers {
		running.Go(func() {
			seq := uint64(0)
			for time.Since(began) < d {
				for range 16 {
					seq++
					publish(n, seq)
				}
			}
			events.Add(int64(seq)) //nolint:gosec // a count
		})
	}
	running.Wait()
	return float64(events.Load()) / time.Since(began).Seconds()
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkBesideLog appends to a log through an Appender and, in turns, to the log alone, where
// each publisher has numbers of its own. ratio is that of the medians of their events a second.
func BenchmarkBesideLog(b *testing.B) {
	const rounds, span = 9, 200 * time.Millisecond
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for _, name := range []string{"memory", "file"} {
		for _, publishers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s, %d publishers", name, publishers), func(b *testing.B) {
				for b.Loop() {
					log := openLog(b, name)
					served := make(chan error, 1)
					go func() { served <- log.Serve(b.Context()) }()
					var ours, theirs []float64
					for round := range rounds {
						names := make([]string, publishers)
						for n := range names {
							names[n] = fmt.Sprint("publisher-", round, "-", n)
						}
						theirs = append(theirs, during(publishers, span, func(n int, seq uint64) {
							batches := [1]transport.Batch{{
								Topic: "t", Envelopes: []*transport.Envelope{benchEvent()},
								Publisher: transport.PublisherState{ID: names[n], Epoch: 1, Seq: seq},
							}}
							var r [1]transport.AppendResult
							if log.Append(ctx, batches[:], r[:]); r[0].Err != nil {
								b.Error(r[0].Err)
							}
						}))
						a, end := start(b, log, fmt.Sprint("bus", round))
						ours = append(ours, during(publishers, span, func(int, uint64) {
							events, results := [1]Event{{Envelope: benchEvent()}}, [1]Result{}
							if a.Append(ctx, "t", 0, events[:], results[:]); results[0].Err != nil {
								b.Error(results[0].Err)
							}
						}))
						end()
					}
					if err := log.Close(); err != nil {
						b.Error(err)
					}
					<-served
					b.ReportMetric(median(ours), "events/s")
					b.ReportMetric(median(theirs), "log-events/s")
					b.ReportMetric(median(ours)/median(theirs), "ratio")
				}
			})
		}
	}
}

// openLog is a new log with a topic t.
func openLog(tb testing.TB, name string) transport.Log {
	tb.Helper()
	var log transport.Log = memory.NewLog()
	if name == "file" {
		l, err := file.Open(filepath.Join(tb.TempDir(), "log"), file.Config{})
		if err != nil {
			tb.Fatal(err)
		}
		log = l
	}
	if _, err := log.Open(tb.Context(), transport.LogTopic{Name: "t", Retain: transport.Retain{Events: 10_000}}); err != nil {
		tb.Fatal(err)
	}
	return log
}

// start is an Appender, and what ends it and waits for its goroutines.
func start(tb testing.TB, log transport.Log, publisher string) (a *Appender, end func()) {
	tb.Helper()
	var bus goroutines
	a = New(tb.Context(), Config{
		Log: log, Publisher: publisher,
		Go:     func(_ string, f func()) bool { return bus.run(f) },
		Report: func(topic string, partition int, err error) { tb.Errorf("%s/%d: %v", topic, partition, err) },
	})
	return a, func() {
		if err := a.Wait(tb.Context()); err != nil {
			tb.Error(err)
		}
		a.Close(fmt.Errorf("the test has ended"))
		bus.end()
		bus.running.Wait()
	}
}

// quickLog takes everything at once, and keeps nothing.
type quickLog struct {
	transport.Log
	next atomic.Uint64
}

func (l *quickLog) LogCapabilities() transport.LogCapabilities { return transport.LogCapabilities{} }

func (l *quickLog) Append(_ context.Context, batches []transport.Batch, results []transport.AppendResult) {
	for i := range batches {
		n := uint64(len(batches[i].Envelopes))
		results[i] = transport.AppendResult{First: l.next.Add(n) - n + 1}
	}
}

// BenchmarkAppend is what the Appender itself takes.
func BenchmarkAppend(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for _, publishers := range []int{1, 64} {
		b.Run(fmt.Sprint(publishers, " publishers"), func(b *testing.B) {
			a, end := start(b, &quickLog{}, "bus")
			defer end()
			b.ReportAllocs()
			b.SetParallelism((publishers + 1) / 2)
			publish := func(more func() bool) {
				env, events, results := benchEvent(), make([]Event, 1), make([]Result, 1)
				for more() {
					events[0] = Event{Envelope: env}
					if a.Append(ctx, "t", 0, events, results); results[0].Err != nil {
						b.Error(results[0].Err)
					}
				}
			}
			if publishers == 1 {
				publish(b.Loop)
				return
			}
			b.RunParallel(func(pb *testing.PB) { publish(pb.Next) })
		})
	}
}
