package logtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// delayed is a sink that passes leases and wakes on.
type delayed struct {
	assigned chan transport.Lease
	woken    chan struct{}
}

func (s *delayed) Assign(l transport.Lease, _ transport.LeaseState) { s.assigned <- l }
func (*delayed) Revoke(transport.Lease, time.Duration)              {}
func (*delayed) Lost(transport.Lease, error)                        {}
func (*delayed) Gap(transport.Gap)                                  {}
func (s *delayed) Wake(transport.Lease) {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// fileDelays is how many events TestDelays has in a file, as each is synced when it is due: 1,500 if
// it is not set.
const fileDelays = "SHARDBUS_DELAYED"

// TestDelays: 10,000 events that are due at random within 24 hours come in order, each on time,
// through two deaths of the process: to the tick in memory, within 1 ms in a file.
func TestDelays(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		testDelays(t, 10_000, 0, func(*testing.T) func() transport.Log {
			store := memory.NewLog()
			return func() transport.Log { return store.Connect() }
		})
	})
	t.Run("file", func(t *testing.T) {
		events := 1500
		if text := os.Getenv(fileDelays); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			events = n
		}
		path := filepath.Join(t.TempDir(), "log")
		testDelays(t, events, time.Millisecond, func(t *testing.T) func() transport.Log {
			return func() transport.Log {
				l, err := file.Open(path, file.Config{})
				if err != nil {
					t.Fatal(err)
				}
				return l
			}
		})
	})
}

func testDelays(t *testing.T, events int, late time.Duration, newStore func(*testing.T) func() transport.Log) {
	const span = 24 * time.Hour
	synctest.Test(t, func(t *testing.T) {
		open := newStore(t)
		log := open()
		if _, err := log.Open(t.Context(), transport.LogTopic{Name: "t"}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
		for n := range events / 100 {
			b := transport.Batch{Topic: "t"}
			for range 100 {
				due := begin.Add(time.Duration(1 + random.Int64N(int64(span))))
				b.Envelopes = append(b.Envelopes, &transport.Envelope{Publisher: "p", ID: fmt.Sprint(n), Payload: []byte(due.Format(time.RFC3339Nano))})
				b.Due = append(b.Due, due)
			}
			var r [1]transport.AppendResult
			log.Append(t.Context(), []transport.Batch{b}, r[:])
			if r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
		}
		got, last := 0, begin
		for run := range 3 {
			if run > 0 {
				log = open()
			}
			got, last = fire(t, log, got, (run+1)*events/3, last, late)
		}
		if got < events-1 {
			t.Errorf("%d of %d came", got, events)
		}
		if end := begin.Add(span); last.After(end) {
			t.Errorf("the last came %v late", last.Sub(end))
		}
	})
}

// fire serves a log until n events have come, and closes it.
func fire(t *testing.T, log transport.Log, got, n int, last time.Time, late time.Duration) (int, time.Time) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- log.Serve(t.Context()) }()
	s := &delayed{assigned: make(chan transport.Lease, 1), woken: make(chan struct{}, 1)}
	c, err := log.Consume(t.Context(), transport.ConsumerConfig{Topic: "t", Name: "c", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}, s)
	if err != nil {
		t.Fatal(err)
	}
	var pending []uint64
	for lease, after := <-s.assigned, uint64(got); got < n; {
		f, err := c.Fetch(t.Context(), lease, after, 100, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		after = f.Next - 1
		var acked []uint64
		for _, e := range f.Entries {
			due, err := time.Parse(time.RFC3339Nano, string(e.Envelope.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if due.Before(last) {
				t.Errorf("one that was due at %v came behind one of %v", due, last)
			}
			if now := time.Now(); now.Before(due) || now.Sub(due) > late {
				t.Fatalf("one that was due at %v came at %v", due, now)
			}
			last = due
			acked = append(acked, e.Offset)
		}
		got += len(acked)
		pending = append(pending, acked...)
		if len(pending) >= 100 || got >= n {
			if err := c.Commit(t.Context(), lease, transport.Commit{Acked: pending}); err != nil {
				t.Fatal(err)
			}
			pending = nil
		}
		if acked == nil {
			<-s.woken
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	<-served
	return got, last
}
