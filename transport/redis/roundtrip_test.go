package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

func TestRoundTrip(t *testing.T) {
	t.Run("standalone", func(t *testing.T) {
		roundTrip(t, redis.Config{Addrs: []string{redistest.Standalone(t, redistest.Config{}).Addr()}})
	})
	t.Run("compact", func(t *testing.T) {
		roundTrip(t, redis.Config{Addrs: []string{redistest.Standalone(t, redistest.Config{}).Addr()}, Compact: true})
	})
	t.Run("compact topics", func(t *testing.T) {
		addr := redistest.Standalone(t, redistest.Config{}).Addr()
		roundTrip(t, redis.Config{Addrs: []string{addr}, Topics: map[string]redis.TopicConfig{"rt.0": {Compact: true}, "rt.7": {Compact: true}}})
	})
	t.Run("cluster", func(t *testing.T) {
		roundTrip(t, redis.Config{Addrs: cluster.Cluster(t).Addrs()})
	})
}

// roundTrip publishes by the config; the subscriber needs to know nothing of it.
func roundTrip(t *testing.T, cfg redis.Config) {
	sub := serve(t, redis.Config{Addrs: cfg.Addrs})
	pub := serve(t, cfg)
	const topics = 20
	for i := range topics {
		sub.subscribe(t, transport.Topic{Name: fmt.Sprintf("rt.%d", i)})
	}
	sub.subscribe(t, transport.Topic{Name: "rt.parts", Partitions: 8})
	want := transport.Envelope{
		Topic: "rt.0", Publisher: "p1", ID: "p1-1", Key: "k", Time: time.Unix(1.7e9, 5).UTC(),
		Headers: transport.HeadersFromMap(map[string]string{"a": "b", "Odd Name": "\x00\xff"}), ContentType: "application/json", Payload: []byte(`{"n":1}`),
	}
	if res := pub.publish(t.Context(), want); res.Err != nil || res.Receivers != 1 {
		t.Fatalf("%+v", res)
	}
	sub.await(t, "the first event", func() bool { return len(sub.events) == 1 })
	const each = 50
	for n := range each {
		envs := make([]*transport.Envelope, topics)
		results := make([]transport.Result, topics)
		for i := range envs {
			envs[i] = &transport.Envelope{Topic: fmt.Sprintf("rt.%d", i), Publisher: "p1", ID: "x", Payload: fmt.Append(nil, n)}
		}
		pub.Publish(t.Context(), envs, results)
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	sub.await(t, "all events", func() bool { return len(sub.events) == 1+topics*each })
	got := sub.events[0]
	if got.Topic != want.Topic || got.ID != want.ID || got.Publisher != want.Publisher || got.Seq != 1 || got.Key != want.Key ||
		!got.Time.Equal(want.Time) || !got.Headers.Equal(want.Headers) || string(got.Payload) != string(want.Payload) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(sub.gaps) > 0 || len(sub.disorder) > 0 {
		t.Errorf("gaps %v, disorder %v", sub.gaps, sub.disorder)
	}
}
