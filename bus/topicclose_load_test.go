package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// Topics that were made, published on and closed leave nothing, on the bus and at the broker.
func TestTopicCloseLeavesNothingAtTheBroker(t *testing.T) {
	broker := memory.NewBroker()
	b := newBus(t, bus.Config{Transport: broker.Connect()})
	other := newBus(t, bus.Config{Transport: broker.Connect()})
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	use := func(from, n int) {
		for i := range n {
			name := fmt.Sprint("topic", from+i)
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: name, Key: eventKey, Partitions: i % 3})
			subscribe(t, topic, "plain", ignore[event])
			var far *bus.Topic[event]
			if i%10 == 0 {
				far = newTopic(t, other, bus.TopicConfig[event]{Name: name, Key: eventKey, Partitions: i % 3})
				subscribe(t, far, "far", ignore[event])
			}
			publish(t, topic, event{"k", 1}, event{"l", 2})
			closeTopic(t, topic)
			if far != nil {
				closeTopic(t, far)
			}
		}
	}
	use(0, 9000) // two lists of what was forgotten, and a half
	before, goroutines := heap(), runtime.NumGoroutine()
	use(9000, 20_000)
	after := heap()
	if after > before+512<<10 {
		t.Errorf("the heap had %d bytes, and has %d", before, after)
	}
	t.Logf("the heap had %d bytes, and has %d", before, after)
	if n := runtime.NumGoroutine(); n > goroutines+2 { // a worker of the bus may be about to end
		t.Errorf("%d goroutines, there were %d", n, goroutines)
	}
	runtime.KeepAlive(broker)
}

// While others publish, a topic is closed and made again, time after time. What they were told is accepted is handled once
// here and once on another bus, and nothing else is.
func TestTopicIsMadeAgainUnderLoad(t *testing.T) {
	for _, remembers := range []time.Duration{0, time.Millisecond, time.Hour} {
		t.Run(remembers.String(), func(t *testing.T) {
			broker := memory.NewBroker()
			b := newBus(t, bus.Config{Transport: &remembering{Transport: broker.Connect(), remembers: remembers}})
			other := newBus(t, bus.Config{Transport: broker.Connect()})
			var near, far, accepted, refused atomic.Int64
			var seen sync.Map
			farSub := subscribe(t, newTopic(t, other, bus.TopicConfig[event]{Name: "n"}), "far", func(_ context.Context, e event) error {
				far.Add(1)
				if _, again := seen.LoadOrStore(e, true); again {
					t.Errorf("%v came again", e)
				}
				return nil
			}, bus.Mailbox(1<<16, bus.Block))
			var current atomic.Pointer[bus.Topic[event]]
			made := func() (*bus.Topic[event], *bus.Subscription) {
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
				sub := subscribe(t, topic, "near", func(context.Context, event) error { near.Add(1); return nil })
				current.Store(topic)
				return topic, sub
			}
			topic, sub := made()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var publishers sync.WaitGroup
			for p := range 4 {
				publishers.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						for accepted.Load() > far.Load()+500 && !t.Failed() { // the other bus drops what it has no room for
							runtime.Gosched()
						}
						switch err := current.Load().Publish(context.Background(), event{fmt.Sprint(p), n}); {
						case err == nil:
							accepted.Add(1)
						case errors.Is(err, bus.ErrTopicClosed):
							refused.Add(1)
							runtime.Gosched()
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			for round := range 200 {
				for was := accepted.Load(); accepted.Load() < was+20 && !t.Failed(); {
					runtime.Gosched()
				}
				closeTopic(t, topic)
				if st := stats(t, sub); st.Handled != st.Accepted || st.Lost+st.Uncertain+st.Unmeasured > 0 {
					t.Errorf("%v", st)
				}
				if round%5 == 0 {
					<-time.After(3 * time.Millisecond) // longer than the shorter time
				}
				topic, sub = made()
			}
			cancel()
			publishers.Wait()
			shutdown(t, b)
			shutdown(t, other)
			if n := accepted.Load(); near.Load() != n || far.Load() != n {
				t.Errorf("%d accepted, %d handled here and %d there", n, near.Load(), far.Load())
			}
			if st := stats(t, farSub); st.Lost+st.Uncertain+st.Unmeasured > 0 || len(farSub.Gaps()) > 0 {
				t.Errorf("%v, %v", st, farSub.Gaps())
			}
			t.Logf("%d accepted, %d refused", accepted.Load(), refused.Load())
		})
	}
}
