package bus_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// TestKeyIsAskedOnce: whichever way in an event takes, its key, which is user code, is found once while there is room.
func TestKeyIsAskedOnce(t *testing.T) {
	for _, c := range []struct {
		name string
		subs [][]bus.SubscribeOption
	}{
		{"one with lanes", [][]bus.SubscribeOption{{bus.Lanes(4)}}},
		{"two with lanes", [][]bus.SubscribeOption{{bus.Lanes(4)}, {bus.Lanes(2)}}},
		{"the latest of each key", [][]bus.SubscribeOption{{bus.Mailbox(8, bus.KeepLatest)}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0 // one publisher, and handlers that do not ask
			topic := newTopic(t, newBus(t, bus.Config{}), bus.TopicConfig[int]{
				Name: "numbers", Key: func(int) string { calls++; return "k" },
			})
			for i, opts := range c.subs {
				subscribe(t, topic, string(rune('a'+i)), func(context.Context, int) error { return nil }, opts...)
			}
			for i := range 5 {
				if err := topic.Publish(t.Context(), i); err != nil {
					t.Fatal(err)
				}
			}
			if calls != 5 {
				t.Errorf("Key was called %d times for 5 events", calls)
			}
		})
	}
}
