package bus_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// Bare payloads carry no key on the wire: it is found by decoding, and order
// per key holds with many lanes.
func TestStrangersKeepOrderPerKey(t *testing.T) {
	type reading struct {
		Sensor string
		N      int
	}
	broker := memory.NewBroker()
	b := newBus(t, bus.Config{Transport: broker.Connect()})
	topic := newTopic(t, b, bus.TopicConfig[reading]{Name: "readings", Key: func(r reading) string { return r.Sensor }})
	var mu sync.Mutex
	lastOf := map[string]int{}
	s := subscribe(t, topic, "s", func(_ context.Context, r reading) error {
		mu.Lock()
		defer mu.Unlock()
		if r.N != lastOf[r.Sensor]+1 {
			t.Errorf("%s: %d after %d", r.Sensor, r.N, lastOf[r.Sensor])
		}
		lastOf[r.Sensor] = r.N
		return nil
	}, bus.Lanes(8))
	stranger := broker.Connect()
	results := make([]transport.Result, 1)
	for n := 1; n <= 200; n++ {
		for sensor := range 10 {
			payload, err := json.Marshal(reading{fmt.Sprint("s", sensor), n})
			if err != nil {
				t.Fatal(err)
			}
			stranger.Publish(t.Context(), []*transport.Envelope{{Topic: "readings", Payload: payload}}, results)
		}
	}
	stranger.Publish(t.Context(), []*transport.Envelope{{Topic: "readings", Payload: []byte("no JSON")}}, results)
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Handled != 2000 || st.DeadLettered != 1 || !st.Balanced() {
		t.Errorf("%v", st)
	}
	letters := s.DeadLetters()
	if payload, _ := letters[0].Delivery.Payload(); string(payload) != "no JSON" || !letters[0].Delivery.ID().IsZero() {
		t.Errorf("%s", payload)
	}
}
