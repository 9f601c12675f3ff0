package redis_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestCompactEventsAreRepaired: what was published compact is repaired as it was.
func TestCompactEventsAreRepaired(t *testing.T) {
	inBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		topic := topicAt(c, 0)
		sub := serve(t, cfg)
		cfg.Compact = true
		pub := serve(t, cfg)
		sub.subscribe(t, topic)
		pub.send(t, topic, 3)
		sub.complete(t, topic, 3)
		deaf(c, topic, func() {
			pub.send(t, topic, 2)
			if res := pub.publish(t.Context(), transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: []byte("\xc5sb\x01\x00")}); res.Err != nil {
				t.Fatal(res.Err)
			}
		})
		sub.complete(t, topic, 6)
		sub.mu.Lock()
		defer sub.mu.Unlock()
		for i, want := range []string{`{"a": 1}`, "\xc5sb\x01\x00"} {
			if got := sub.events[i+4]; string(got.Payload) != want || got.Topic != topic.Name || got.ID != "x" {
				t.Errorf("%+v, want %q", got, want)
			}
		}
		if got := sub.Ledger(topic); got.Repaired != 3 {
			t.Errorf("%+v", got)
		}
	})
}
