package bus_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// An event that falls to a full mailbox costs no memory.
func TestDropsAllocateNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, policy := range []bus.Policy{bus.DropOldest, bus.DropNewest} {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "ticks"})
		subscribe(t, topic, "paused", ignore[int], bus.Mailbox(4, policy)).Pause()
		ctx := context.Background()
		publish(t, topic, 1, 2, 3, 4, 5, 6, 7, 8)
		if n := testing.AllocsPerRun(1000, func() { _ = topic.Publish(ctx, 9) }); n != 0 {
			t.Errorf("%v: %v allocations an event, want none", policy, n)
		}
	}
}
