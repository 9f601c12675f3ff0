package durabletest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// A key that waits an hour holds up nothing but itself: 50,000 events of other keys go past, in bounded
// memory. It waits on after a restart, and its events come in their order.
func TestManyGoPastADeferredKey(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		const events, ofSlow = 50_000, 20
		log := open()
		b, stop := start(t, log)
		topic := orders(t, b, 0)
		var slow, others, most atomic.Int64
		began := time.Now()
		handle := func(_ context.Context, o order) error {
			if o.Customer != "slow" {
				others.Add(1)
				return nil
			}
			slow.Add(1)
			return bus.RetryAfter(time.Hour, errors.New("later"))
		}
		sub, err := topic.Subscribe(t.Context(), "billing", handle, bus.Lanes(4), bus.Mailbox(64, bus.Block), bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		const batch = 500
		for n := 0; n < events; n += batch {
			values := make([]order, 0, batch+1)
			if n%(events/ofSlow) == 0 {
				values = append(values, order{"slow", 1 + n/(events/ofSlow)})
			}
			for i := range batch {
				values = append(values, order{fmt.Sprint(i % 97), n + i})
			}
			if err := topic.PublishBatch(t.Context(), values); err != nil {
				t.Fatal(err)
			}
			most.Store(max(most.Load(), int64(sub.Stats().Pending()))) //nolint:gosec // a count
		}
		settle()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if others.Load() != events || slow.Load() != 1 {
			t.Errorf("%d of others were handled, and %d of the one that waits", others.Load(), slow.Load())
		}
		if bound := int64(4*65 + ofSlow + 1024); most.Load() > bound {
			t.Errorf("%d were with the bus at once, at most %d may be", most.Load(), bound)
		}
		grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / 1024 //nolint:gosec // sizes
		if inFile := strings.HasSuffix(t.Name(), "/file"); inFile && grown > 4096 {
			t.Errorf("the heap has grown by %d KiB", grown)
		}
		t.Logf("at most %d events were with the bus; the heap, of which a log in memory is part, grew by %d KiB",
			most.Load(), grown)
		if st := sub.Stats(); st.Deferred != ofSlow || !st.Balanced() {
			t.Errorf("%v", st)
		}
		lags, err := topic.Lag(t.Context())
		if err != nil || len(lags) != 1 || lags[0].Low != events+ofSlow+1 || lags[0].Deferred != ofSlow || lags[0].Lag != ofSlow {
			t.Errorf("%+v, %v", lags, err)
		}
		stop()

		b, stop = start(t, open())
		got := make(recorder, 100)
		got.subscribe(t, orders(t, b, 0), "billing", bus.Lanes(2))
		pass(30 * time.Minute)
		if len(got) > 0 {
			t.Errorf("%d came early", len(got))
		}
		pass(time.Until(began.Add(time.Hour + time.Minute)))
		for n := 1; n <= ofSlow; n++ {
			m := <-got
			if want := map[bool]int{true: 2, false: 1}[n == 1]; m.Value.N != n || m.Key != "slow" || m.Attempt != want || m.Redelivered {
				t.Errorf("%+v, want %d", m, n)
			}
		}
		if len(got) > 0 {
			t.Errorf("%d too many", len(got))
		}
		stop()
	})
}
