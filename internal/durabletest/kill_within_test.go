package durabletest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/file"
)

// withinRole is the role of a process whose handler publishes within its messages.
const withinRole = "within"

// derivedOf is how many events are derived from the order with that number.
func derivedOf(n int) int { return n%5%3 + 1 }

// deriving has the topics of such a process.
func deriving(b *bus.Bus) (source *bus.Topic[order], derived *bus.Topic[parcel], err error) {
	source, err = bus.NewTopic(b, bus.TopicConfig[order]{
		Name: "orders", Class: bus.Durable, Partitions: 3, Key: func(o order) string { return o.Customer },
	})
	if err != nil {
		return nil, nil, err
	}
	derived, err = bus.NewTopic(b, bus.TopicConfig[parcel]{
		Name: "parcels", Class: bus.Durable, Partitions: 2, Key: func(p parcel) string { return p.Customer },
	})
	return source, derived, err
}

// publishAndDerive publishes orders, and handles each by publishing parcels within it, until it is killed,
// or, to drain the log, until no order is left.
func publishAndDerive(db, notes, _ string, drain bool) error {
	out, err := os.OpenFile(notes, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	j := &journal{file: out}
	log, err := file.Open(db, file.Config{})
	if err != nil {
		return err
	}
	b, err := bus.New(bus.Config{Log: log})
	if err != nil {
		return err
	}
	source, derived, err := deriving(b)
	if err != nil {
		return err
	}
	ctx := context.Background()
	handle := func(ctx context.Context, m bus.Message[order]) error {
		for range derivedOf(m.Value.N) {
			if err := derived.Publish(ctx, parcel{fmt.Sprintf("%d/%d", m.Partition, m.Offset), m.Value.N}, bus.Within(m)); err != nil {
				return err
			}
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond) //nolint:gosec // of a handler
		}
		if m.Value.N%11 == 5 && m.Attempt < 3 {
			return bus.RetryAfter(time.Millisecond, errors.New("not yet"))
		}
		return j.note("handled %d/%d", m.Partition, m.Offset)
	}
	if _, err := source.SubscribeMessage(ctx, "relay", handle, bus.From(bus.Earliest()), bus.Lanes(4)); err != nil {
		return err
	}
	if drain {
		return drained(ctx, b, log, source)
	}
	var publishers sync.WaitGroup
	errs := make(chan error, 4)
	for p := range 4 {
		publishers.Go(func() {
			for n := 0; ; n++ {
				var r bus.Receipt
				err := source.Publish(ctx, order{fmt.Sprintf("c%d", (p+n)%killKeys), n}, bus.ReceiptTo(&r))
				if err == nil {
					err = j.note("accepted %d/%d", r.Partition, r.Offset)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	return <-errs
}

// drained ends a process when nothing is left of a topic.
func drained[T any](ctx context.Context, b *bus.Bus, log *file.Log, topic *bus.Topic[T]) error {
	for {
		time.Sleep(50 * time.Millisecond)
		lags, err := topic.Lag(ctx)
		if err != nil {
			return err
		}
		lag := uint64(0)
		for _, p := range lags {
			lag += p.Lag
		}
		if lag == 0 {
			return errors.Join(b.Shutdown(ctx), log.Close())
		}
	}
}

// A process that publishes within the messages of its handler is killed at random moments: every event that
// is derived from an order is there exactly once, however often the order was handled.
func TestKillWithin(t *testing.T) {
	kills := killsOf(t, 20)
	dir := t.TempDir()
	db, notes := filepath.Join(dir, "events.db"), filepath.Join(dir, "notes")
	killOften(t, withinRole, db, notes, kills, 5_000)

	log, err := file.Open(db, file.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(bus.Config{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	source, derived, err := deriving(b)
	if err != nil {
		t.Fatal(err)
	}
	lags, err := source.Lag(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	orders := 0
	for _, p := range lags {
		orders += int(p.Next - p.First) //nolint:gosec // a count
	}
	var mu sync.Mutex
	found, want := make(map[string]int), make(map[string]int)
	_, err = derived.Subscribe(t.Context(), "count", func(_ context.Context, p parcel) error {
		mu.Lock()
		defer mu.Unlock()
		found[p.Customer]++
		want[p.Customer] = derivedOf(p.N)
		return nil
	}, bus.From(bus.Earliest()))
	if err != nil {
		t.Fatal(err)
	}
	if err := drained(t.Context(), b, log, derived); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for place, n := range found {
		if n != want[place] {
			wrong++
			t.Logf("of order %s there are %d events, want %d", place, n, want[place])
		}
	}
	accepted, handled := readPlaces(t, notes)
	missing, again := 0, 0
	for place := range accepted {
		if found[place] == 0 {
			missing++
		}
	}
	for _, n := range handled {
		again += n - 1
	}
	t.Logf("%d kills: %d orders, of which %d were accepted; handlers had ended %d times more than that after kills", kills, orders, len(accepted), again)
	if wrong > 0 || missing > 0 || len(found) != orders || len(accepted) < kills {
		t.Errorf("of %d orders the events are wrong, of %d that were accepted they are missing; there are events of %d orders of %d", wrong, missing, len(found), orders)
	}
}

// readPlaces reads which places were noted as accepted, and how often as handled.
func readPlaces(t *testing.T, notes string) (accepted map[string]bool, handled map[string]int) {
	t.Helper()
	f, err := os.Open(notes)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	accepted, handled = make(map[string]bool), make(map[string]int)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		what, place, _ := strings.Cut(lines.Text(), " ")
		switch what {
		case "accepted":
			accepted[place] = true
		case "handled":
			handled[place]++
		}
	}
	return accepted, handled
}
