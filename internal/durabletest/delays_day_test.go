package durabletest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// 10,000 events that are delayed by up to a day come in the order of their times, each when it is due,
// through two crashes: to the tick from a log in memory, and within 1 ms from a file.
func TestDelaysOfADay(t *testing.T) {
	inFileEvents := 1000 // the disk takes each by itself
	if os.Getenv(killsVariable) != "" {
		inFileEvents = 10_000
	}
	type opener func(t *testing.T) (log transport.Log, crash func())
	inMemory := func() opener {
		first := memory.NewLog()
		return func(*testing.T) (transport.Log, func()) {
			log := first.Connect()
			return log, func() { _ = log.Close() }
		}
	}
	inFile := func(t *testing.T) opener {
		path := filepath.Join(t.TempDir(), "events.db")
		return func(t *testing.T) (transport.Log, func()) {
			log, err := file.Open(path, file.Config{})
			if err != nil {
				t.Fatal(err)
			}
			return log, func() { _ = log.Close() }
		}
	}
	for name, c := range map[string]struct {
		open   func(t *testing.T) opener
		late   time.Duration
		events int
	}{
		"memory": {func(*testing.T) opener { return inMemory() }, 0, 10_000},
		"file":   {inFile, time.Millisecond, inFileEvents},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { delaysOfADay(t, c.open(t), c.late, c.events) })
		})
	}
}

func delaysOfADay(t *testing.T, open func(t *testing.T) (transport.Log, func()), late time.Duration, events int) {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // times of a test
	began := time.Now()
	seen := make(map[int]int)
	var lastDue time.Time
	run := func(publish bool, until time.Duration) {
		log, crash := open(t)
		b, err := bus.New(bus.Config{Log: log})
		if err != nil {
			t.Fatal(err)
		}
		topic, err := bus.NewTopic(b, bus.TopicConfig[time.Time]{Name: "reminders", Class: bus.Durable})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[time.Time]) error {
			due := m.Value
			if over := time.Since(due); over < 0 || over > late && !m.Redelivered {
				return fmt.Errorf("an event due at %v came at %v", due, time.Now())
			}
			if seen[int(m.Offset)]++; seen[int(m.Offset)] == 1 {
				if due.Before(lastDue) {
					t.Errorf("the event due at %v came after that due at %v", due, lastDue)
				}
				lastDue = due
			}
			return nil
		}, bus.From(bus.Earliest()), bus.OnDeadLetter(func(_ context.Context, l bus.Letter) { t.Error(l.Err) })); err != nil {
			t.Fatal(err)
		}
		if publish {
			msgs := make([]bus.Outgoing[time.Time], events)
			for i := range msgs {
				at := began.Add(time.Minute + time.Duration(random.Int64N(int64(24*time.Hour-2*time.Minute))))
				msgs[i] = bus.Outgoing[time.Time]{Value: at, At: at}
			}
			for i := 0; i < events; i += 500 {
				if err := topic.PublishMessages(t.Context(), msgs[i:i+500]); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(time.Until(began.Add(until)))
		crash()
		_ = b.Close() // what the crash left
	}
	run(true, 7*time.Hour+13*time.Second)
	run(false, 16*time.Hour+time.Millisecond/3)
	run(false, 24*time.Hour)
	if len(seen) != events {
		t.Errorf("%d of %d events came", len(seen), events)
	}
	again := 0
	for _, n := range seen {
		again += n - 1
	}
	if again > 4 { // two crashes in the midst of at most an event each
		t.Errorf("%d events came again", again)
	}
}
