package file

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
)

// benchPayload is that of every event of the benchmarks.
var benchPayload = make([]byte, 128)

func benchEvent(publisher string, seq uint64) *transport.Envelope {
	return &transport.Envelope{Publisher: publisher, ID: fmt.Sprint(publisher, "-", seq), Payload: benchPayload, ContentType: "application/json"}
}

// rawWriter is bbolt with a writer that takes what has gathered, and nothing else: what the log is
// measured by.
type rawWriter struct {
	db     *bbolt.DB
	mu     sync.Mutex
	queue  []*rawAppend
	signal chan struct{}
	next   uint64
}

type rawAppend struct {
	values [][]byte
	done   chan error
}

func newRawWriter(b *testing.B, path string) *rawWriter {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true, InitialMmapSize: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("e")); return err }); err != nil {
		b.Fatal(err)
	}
	w := &rawWriter{db: db, signal: make(chan struct{}, 1)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range w.signal {
			w.commit()
		}
	}()
	b.Cleanup(func() {
		close(w.signal)
		<-ended
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return w
}

func (w *rawWriter) commit() {
	for {
		w.mu.Lock()
		queue := w.queue
		w.queue = nil
		w.mu.Unlock()
		if queue == nil {
			return
		}
		err := w.db.Update(func(tx *bbolt.Tx) error {
			e := tx.Bucket([]byte("e"))
			e.FillPercent = 0.9
			for _, a := range queue {
				for _, value := range a.values {
					w.next++
					if err := e.Put(binary.BigEndian.AppendUint64(make([]byte, 6, 14), w.next), value); err != nil {
						return err
					}
				}
			}
			return nil
		})
		for _, a := range queue {
			a.done <- err
		}
	}
}

func (w *rawWriter) append(values [][]byte) error {
	a := &rawAppend{values, make(chan error, 1)}
	w.mu.Lock()
	w.queue = append(w.queue, a)
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
	return <-a.done
}

// during has publishers call append for d, and returns events a second and the times that each took.
func during(publishers, batch int, d time.Duration, append func(publisher int, seq uint64) error) (perSecond float64, took []time.Duration) {
	var running sync.WaitGroup
	var mu sync.Mutex
	var events atomic.Int64
	began := time.Now()
	for n := range publishers {
		running.Go(func() {
			var own []time.Duration
			for seq := uint64(1); time.Since(began) < d; seq += uint64(batch) {
				start := time.Now()
				if err := append(n, seq); err != nil {
					panic(err)
				}
				own = slices.Grow(own, 1)
				own = own[:len(own)+1]
				own[len(own)-1] = time.Since(start)
				events.Add(int64(batch))
			}
			mu.Lock()
			took = slices.Concat(took, own)
			mu.Unlock()
		})
	}
	running.Wait()
	slices.Sort(took)
	return float64(events.Load()) / time.Since(began).Seconds(), took
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkBesideRaw appends to a log and, in turns, to raw bbolt that does the same synced commits.
// ratio is that of the medians of their events a second.
func BenchmarkBesideRaw(b *testing.B) {
	const rounds, span = 7, 300 * time.Millisecond
	for _, c := range []struct{ publishers, batch int }{{1, 1}, {8, 1}, {64, 1}, {1, 100}} {
		b.Run(fmt.Sprintf("%d publishers, batches of %d", c.publishers, c.batch), func(b *testing.B) {
			for b.Loop() {
				folder := b.TempDir()
				raw := newRawWriter(b, filepath.Join(folder, "raw"))
				l, err := Open(filepath.Join(folder, "log"), Config{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := l.Open(b.Context(), transport.LogTopic{Name: "t"}); err != nil {
					b.Fatal(err)
				}
				var ours, theirs []float64
				var p50, p99 time.Duration
				for round := range rounds {
					value := record.NewEvent(benchEvent("0123456789abcdef", 1))
					rate, _ := during(c.publishers, c.batch, span, func(int, uint64) error {
						return raw.append(slices.Repeat([][]byte{value}, c.batch))
					})
					theirs = append(theirs, rate)
					rate, took := during(c.publishers, c.batch, span, func(n int, seq uint64) error {
						name := fmt.Sprintf("publisher-%d-%d", round, n)
						batch := transport.Batch{Topic: "t", Publisher: transport.PublisherState{ID: name, Seq: seq}}
						for i := range c.batch {
							batch.Envelopes = append(batch.Envelopes, benchEvent(name, seq+uint64(i)))
						}
						var r [1]transport.AppendResult
						l.Append(b.Context(), []transport.Batch{batch}, r[:])
						return r[0].Err
					})
					ours = append(ours, rate)
					p50, p99 = took[len(took)/2], took[len(took)*99/100]
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(median(ours), "events/s")
				b.ReportMetric(median(theirs), "raw-events/s")
				b.ReportMetric(median(ours)/median(theirs), "ratio")
				b.ReportMetric(float64(p50.Microseconds()), "p50-µs")
				b.ReportMetric(float64(p99.Microseconds()), "p99-µs")
			}
		})
	}
}

// filled is a log with n events, and its path.
func filledLog(b *testing.B, n int, due func(i int) time.Time) (*Log, string) {
	b.Helper()
	path := filepath.Join(b.TempDir(), "log")
	l, err := Open(path, Config{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := l.Open(b.Context(), transport.LogTopic{Name: "t"}); err != nil {
		b.Fatal(err)
	}
	const size = 2000
	for i := 0; i < n; i += size {
		batch := transport.Batch{Topic: "t"}
		for j := range size {
			batch.Envelopes = append(batch.Envelopes, benchEvent("p", uint64(i+j)))
			if due != nil {
				batch.Due = append(batch.Due, due(i+j))
			}
		}
		var r [1]transport.AppendResult
		l.Append(b.Context(), []transport.Batch{batch}, r[:])
		if r[0].Err != nil {
			b.Fatal(r[0].Err)
		}
	}
	return l, path
}

// BenchmarkConsume fetches and settles 1,000,000 events, with a commit for each 256 or 1024.
func BenchmarkConsume(b *testing.B) {
	const n = 1_000_000
	l, _ := filledLog(b, n, nil)
	defer l.Close()
	ctx, cancel := context.WithCancel(b.Context())
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	for _, size := range []int{256, 1024} {
		b.Run(fmt.Sprintf("commits of %d", size), func(b *testing.B) {
			for b.Loop() {
				s := &quietSink{assigned: make(chan transport.Lease, 1)}
				c, err := l.Consume(ctx, transport.ConsumerConfig{
					Topic: "t", Name: fmt.Sprint("c", time.Now().UnixNano()), Keyed: true, Start: transport.Start{From: transport.AtEarliest},
				}, s)
				if err != nil {
					b.Fatal(err)
				}
				lease, after, got, began := <-s.assigned, uint64(0), 0, time.Now()
				for got < n {
					f, err := c.Fetch(ctx, lease, after, size, 4<<20)
					if err != nil {
						b.Fatal(err)
					}
					acked := make([]uint64, len(f.Entries))
					for i, e := range f.Entries {
						acked[i] = e.Offset
					}
					if err := c.Commit(ctx, lease, transport.Commit{Acked: acked}); err != nil {
						b.Fatal(err)
					}
					got += len(acked)
					after = f.Next - 1
				}
				b.ReportMetric(n/time.Since(began).Seconds(), "events/s")
				if err := c.Close(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	cancel()
	<-served
}

// BenchmarkOpen opens a log with 1,000,000 events.
func BenchmarkOpen(b *testing.B) {
	l, path := filledLog(b, 1_000_000, nil)
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := Open(path, Config{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// delaysVariable is how many events BenchmarkDelays appends, in thousands; 100 if it is not set.
const delaysVariable = "SHARDBUS_DELAYS"

// BenchmarkDelays appends events that wait, at random times, and tells what they cost in memory.
func BenchmarkDelays(b *testing.B) {
	n := 100_000
	if text := os.Getenv(delaysVariable); text != "" {
		thousands, err := strconv.Atoi(text)
		if err != nil {
			b.Fatal(err)
		}
		n = 1000 * thousands
	}
	for b.Loop() {
		before := heap()
		start, began := time.Now().Add(time.Hour), time.Now()
		l, path := filledLog(b, n, func(i int) time.Time { return start.Add(time.Duration(i*7919%n) * time.Second) })
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "events/s")
		b.ReportMetric(float64(heap()-before)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(size(path))/float64(n), "disk-B/event")
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// heap is how much memory is in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkRetention appends at full rate to a topic that keeps 50,000 events, and tells how long an
// append takes while as many are trimmed.
func BenchmarkRetention(b *testing.B) {
	for b.Loop() {
		l, err := Open(filepath.Join(b.TempDir(), "log"), Config{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := l.Open(b.Context(), transport.LogTopic{Name: "t", Retain: transport.Retain{Events: 50_000}}); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		served := make(chan error, 1)
		go func() { served <- l.Serve(ctx) }()
		rate, took := during(16, 20, 5*time.Second, func(n int, seq uint64) error {
			name := fmt.Sprint("publisher-", n)
			batch := transport.Batch{Topic: "t", Publisher: transport.PublisherState{ID: name, Seq: seq}}
			for i := range uint64(20) {
				batch.Envelopes = append(batch.Envelopes, benchEvent(name, seq+i))
			}
			var r [1]transport.AppendResult
			l.Append(ctx, []transport.Batch{batch}, r[:])
			return r[0].Err
		})
		st, err := l.Open(ctx, transport.LogTopic{Name: "t", Retain: transport.Retain{Events: 50_000}})
		if err != nil {
			b.Fatal(err)
		}
		p := st.Partitions[0]
		b.ReportMetric(rate, "events/s")
		b.ReportMetric(float64(p.First-1), "trimmed")
		b.ReportMetric(float64(p.Next-p.First), "kept")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		cancel()
		<-served
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
