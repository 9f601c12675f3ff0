package durabletest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// What waits in a lane behind a handler that runs for long goes to another bus at once, as far as it is of
// partitions that move: it was not started.
func TestMovesFromBehindALongHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const partitions = 4
		store := memory.NewLog()
		first, second := newBus(t, store), newBus(t, store.Connect())
		topic, other := orders(t, first, partitions), orders(t, second, partitions)
		hold := make(chan struct{})
		var handled atomic.Int64
		sub, err := topic.SubscribeMessage(t.Context(), "one", func(context.Context, bus.Message[order]) error {
			<-hold
			handled.Add(1)
			return nil
		}, bus.Group("g"), bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		got := make(recorder, 100)
		took := got.subscribe(t, other, "two", bus.Group("g"))
		settle()
		moved := make(map[int]int)
		for len(got) > 0 {
			m := <-got
			if m.Redelivered || m.Attempt != 1 {
				t.Errorf("%+v", m)
			}
			moved[m.Partition]++
		}
		if len(moved) == 0 {
			t.Error("nothing has moved, and a handler runs of one partition of four")
		}
		if running := sub.Stats().Running; running != 1 || handled.Load() != 0 {
			t.Errorf("%d run, %d were handled", running, handled.Load())
		}
		close(hold)
		pass(time.Minute)
		all := int(handled.Load()) + len(got)
		for _, n := range moved {
			all += n
		}
		if all != 40 {
			t.Errorf("%d events were handled", all)
		}
		for _, s := range []*bus.Subscription{sub, took} {
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			checkEnd(t, s)
		}
		for _, b := range []*bus.Bus{first, second} {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}
