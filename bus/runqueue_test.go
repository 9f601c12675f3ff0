package bus_test

import (
	"context"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
)

// However many handlers block at once, the next topic's runs: the run queue has no size.
// When they go on, those that got in line meanwhile are served too, also where some
// of the handlers end their goroutines, and nobody is left behind.
func TestRunQueueHasNoSize(t *testing.T) {
	const topics = 500
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		release := make(chan struct{})
		var entered, handled atomic.Int64
		var feeds []*bus.Topic[int]
		for i := range topics {
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "topic." + strconv.Itoa(i)})
			subscribe(t, topic, "s", func(_ context.Context, n int) error {
				entered.Add(1)
				<-release
				if n%7 == 0 {
					runtime.Goexit()
				}
				handled.Add(1)
				return nil
			}, bus.PanicBudget(1000, 1))
			feeds = append(feeds, topic)
		}
		for range 2 { // the second waits in the mailboxes
			for i, topic := range feeds {
				publish(t, topic, i)
			}
			synctest.Wait()
			if n := entered.Load(); n != topics {
				t.Fatalf("%d handlers run at once, want all %d", n, topics)
			}
		}
		close(release)
		synctest.Wait()
		ended := 2 * ((topics + 6) / 7)
		if n, want := handled.Load(), int64(2*topics-ended); n != want {
			t.Errorf("%d events handled, want %d", n, want)
		}
		if n := entered.Load(); n != 2*topics {
			t.Errorf("%d attempts, want %d", n, 2*topics)
		}
	})
}

// Publishers and lanes of many topics at once: every event is handled, without a lane
// left in line when the last publisher has gone.
func TestRunQueueLeavesNobodyInLine(t *testing.T) {
	const topics, publishers, rounds = 64, 4, 200
	b := newBus(t, bus.Config{})
	var handled atomic.Int64
	var feeds []*bus.Topic[int]
	for i := range topics {
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "topic." + strconv.Itoa(i)})
		subscribe(t, topic, "s", func(context.Context, int) error {
			handled.Add(1)
			return nil
		}, bus.Mailbox(4, bus.Block))
		feeds = append(feeds, topic)
	}
	done := make(chan error, publishers)
	for p := range publishers {
		go func() {
			var err error
			for i := range rounds * topics {
				if err == nil {
					err = feeds[(i*(2*p+1))%topics].Publish(context.Background(), i)
				}
			}
			done <- err
		}()
	}
	for range publishers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, want := handled.Load(), int64(publishers*rounds*topics); n != want {
		t.Errorf("%d events handled, want %d", n, want)
	}
}
