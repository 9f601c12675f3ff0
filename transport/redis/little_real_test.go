package redis_test

import (
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestLittleIsHeld: a subscriber that holds little at a time, and wants small events, keeps its connection when others
// publish large ones, or many channels are told of in one watermark. Each large one is a gap.
func TestLittleIsHeld(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{})
	countPayloads(t, s)
	topic := transport.Topic{Name: "orders"}
	// The publisher remembers all: a small event that arrives while a large one is handled is dropped, and asked for again.
	pub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Repair: redis.Repair{Bytes: 32 << 20}})
	sub := serve(t, redis.Config{Addrs: []string{s.Addr()}, ReceiveBytes: 4 << 10, MaxPayload: 4 << 10})
	sub.subscribe(t, topic)
	before := readers(t, s)
	large := []byte(`"` + strings.Repeat("x", 900<<10) + `"`)
	const rounds = 5
	for range rounds {
		for _, payload := range [][]byte{large, []byte(`"small"`)} {
			env := transport.Envelope{Topic: "orders", Publisher: "p", ID: "x", ContentType: "application/json", Payload: payload}
			if res := pub.publish(t.Context(), env); res.Err != nil || res.Receivers != 1 {
				t.Fatalf("%+v", res)
			}
		}
	}
	sub.await(t, "the small events", func() bool { return len(sub.events) == rounds })
	if after := readers(t, s); before != after {
		t.Errorf("subscribers' connections were %s, are %s", before, after)
	}
	if counts := sub.Ledger(topic); counts.Missing != rounds || counts.Received != rounds {
		t.Errorf("%+v", counts)
	}
}
