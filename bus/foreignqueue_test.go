package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// Bare payloads carry no key on the wire: it is found by decoding, and order
// per key holds with many lanes.
func TestForeignQueueKeepsOrderPerKey(t *testing.T) {
	type reading struct {
		Sensor string
		N      int
	}
	b := bustest.New(t)
	readings := bus.TopicConfig[reading]{Name: "readings", Key: func(r reading) string { return r.Sensor }}
	var mu sync.Mutex
	lastOf := map[string]int{}
	s := subscribe(t, newTopic(t, b.Bus, readings), "s", func(_ context.Context, r reading) error {
		mu.Lock()
		defer mu.Unlock()
		if r.N != lastOf[r.Sensor]+1 {
			t.Errorf("%s: %d after %d", r.Sensor, r.N, lastOf[r.Sensor])
		}
		lastOf[r.Sensor] = r.N
		return nil
	}, bus.Lanes(8))
	for n := 1; n <= 200; n++ {
		for sensor := range 10 {
			payload, err := json.Marshal(reading{fmt.Sprint("s", sensor), n})
			if err != nil {
				t.Fatal(err)
			}
			b.Poison("readings", payload)
		}
	}
	b.Poison("readings", []byte("no JSON"))
	bustest.WaitIdle(t, b)
	if st := s.Stats(); st.Handled != 2000 || st.DeadLettered != 1 {
		t.Errorf("%v", st)
	}
	l := bustest.RequireDeadLettered(t, b, readings, "s")
	if string(l.Payload) != "no JSON" || !l.Delivery.ID().IsZero() {
		t.Errorf("%s", l.Payload)
	}
}
