package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestOnGapMayAskTheTransport: OnGap runs under no lock of the transport. It may ask for the ledger, and one that ends its
// goroutine does not silence the connection.
func TestOnGapMayAskTheTransport(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{s.Addr()}, Repair: redis.Repair{Off: true}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bus.New(bus.Config{Transport: tr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	var handled atomic.Int64
	missing := make(chan uint64, 10)
	_, err = newTopic(t, b, bus.TopicConfig[int]{Name: "n"}).Subscribe(t.Context(), "s",
		func(context.Context, int) error { handled.Add(1); return nil },
		bus.OnGap(func(bus.Gap) {
			missing <- tr.Ledger(transport.Topic{Name: "n"}).Missing
			runtime.Goexit() // as t.Fatal does
		}))
	if err != nil {
		t.Fatal(err)
	}
	for i, seq := range []int{1, 5, 8} { // 2 to 4 and 6 to 7 never come
		do(t, s, "SPUBLISH", "n", fmt.Sprintf(
			`{"specversion":"1.0","id":"%d","source":"p","type":"n","sequence":"%020d","data":1}`, seq, seq))
		if i > 0 {
			select {
			case n := <-missing:
				if want := uint64([]int{0, 3, 5}[i]); n != want {
					t.Errorf("%d are missing by the ledger, want %d", n, want)
				}
			case <-time.After(patience):
				t.Fatal("OnGap has not come back with the ledger")
			}
		}
	}
	eventually(t, "the events", func() error {
		if n := handled.Load(); n != 3 {
			return fmt.Errorf("%d handled", n)
		}
		return nil
	})
}
