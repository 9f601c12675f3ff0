package bus_test

import (
	"context"
	"strconv"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// Keys spread over all lanes, whatever their number.
func TestKeysSpreadOverAllLanes(t *testing.T) {
	for _, lanes := range []int{2, 3, 8, 12} {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "numbers", Key: strconv.Itoa})
		var mu sync.Mutex
		busy := make(map[string]bool)
		all := make(chan struct{})
		// Each lane blocks in its first event: so many handlers run at once as
		// there are lanes in use.
		subscribe(t, topic, "s", func(_ context.Context, n int) error {
			mu.Lock()
			busy[strconv.Itoa(n)] = true
			if len(busy) == lanes { // the first time only: later keys make it larger
				close(all)
			}
			mu.Unlock()
			<-all
			return nil
		}, bus.Lanes(lanes))
		for n := range 50 * lanes {
			publish(t, topic, n)
		}
		<-all
		if err := b.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
