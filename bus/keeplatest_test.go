package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// An event takes the place of the one of its key; with every place taken by other
// keys the first in line goes; empty keys replace nothing.
func TestKeepLatest(t *testing.T) {
	for _, broker := range []bool{false, true} {
		for _, batch := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				cfg := bus.Config{}
				if broker {
					cfg.Transport = memory.NewBroker().Connect()
				}
				topic := newTopic(t, newBus(t, cfg), bus.TopicConfig[event]{Name: "n", Key: eventKey})
				var got list[event]
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error { got.add(e); return nil }, bus.Mailbox(3, bus.KeepLatest))
				s.Pause()
				events := []event{{"a", 1}, {"b", 2}, {"a", 3}, {"c", 4}, {"b", 5}, {"d", 6}, {"", 7}, {"", 8}}
				if batch {
					if err := topic.PublishBatch(t.Context(), events); err != nil {
						t.Fatal(err)
					}
				} else {
					publish(t, topic, events...)
				}
				time.Sleep(time.Second)
				if st := stats(t, s); st.Queued != 3 || st.Dropped != 5 || st.Accepted != 8 {
					t.Errorf("%v", st)
				}
				s.Resume()
				synctest.Wait()
				got.require(t, "handled", event{"d", 6}, event{"", 7}, event{"", 8})
			})
		}
	}
}

// A key that waits for another attempt keeps only the latest behind it, so that it
// does not fill the retry queue with what is stale.
func TestKeepLatestBehindParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topic := newTopic(t, newBus(t, bus.Config{}), bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var got list[event]
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if got.add(e); len(got.get()) == 1 {
				return bus.RetryAfter(time.Minute, errAgain)
			}
			return nil
		}, bus.Mailbox(3, bus.KeepLatest), bus.MaxDeferred(3))
		for n := range 10 {
			publish(t, topic, event{"a", n})
			time.Sleep(time.Second)
		}
		publish(t, topic, event{"b", 1})
		synctest.Wait()
		if st := stats(t, s); st.Deferred != 2 || st.Dropped != 8 {
			t.Errorf("%v", st)
		}
		time.Sleep(time.Hour)
		got.require(t, "handled", event{"a", 0}, event{"b", 1}, event{"a", 0}, event{"a", 9})
	})
}

func TestKeepLatestNeedsKey(t *testing.T) {
	topic := newTopic(t, newBus(t, bus.Config{}), bus.TopicConfig[int]{Name: "n"})
	_, err := topic.Subscribe(t.Context(), "s", ignore[int], bus.Mailbox(3, bus.KeepLatest))
	requireError(t, err, bus.ErrNoKey, "KeepLatest")
}
