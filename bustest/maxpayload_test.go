package bustest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// What is too large for Redis is too large here, with the same error and the same
// default.
func TestTooLargeIsAsOnRedis(t *testing.T) {
	blobs := bus.TopicConfig[[]byte]{Name: "blobs", Codec: codec.Raw}
	publish := func(t *testing.T, b *bus.Bus, size int) string {
		topic := must[*bus.Topic[[]byte]](t)(bus.NewTopic(b, blobs))
		err := topic.Publish(t.Context(), make([]byte, size))
		if err == nil {
			return ""
		}
		if !errors.Is(err, transport.ErrTooLarge) {
			t.Errorf("the error is no ErrTooLarge: %v", err)
		}
		_, text, _ := strings.Cut(err.Error(), `publish to "blobs": `)
		return text
	}
	for _, limit := range []int{0, 2000} {
		onRedis := func(size int) (text string) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{})
				tr := must[*redis.Transport](t)(redis.Open(t.Context(), redis.Config{Addrs: c.Addrs(), Dial: c.Dial, MaxPayload: limit}))
				b := must[*bus.Bus](t)(bus.New(bus.Config{Transport: tr}))
				text = publish(t, b, size)
				if err := errors.Join(b.Close(), tr.Close()); err != nil {
					t.Error(err)
				}
			})
			return text
		}
		here := func(size int) string {
			var opts []bustest.Option
			if limit != 0 {
				opts = append(opts, bustest.MaxPayload(limit))
			}
			return publish(t, bustest.New(t, opts...).Bus, size)
		}
		most := limit
		if limit == 0 {
			most = redis.DefaultMaxPayload
		}
		for _, size := range []int{0, most, most + 1} {
			if got, want := here(size), onRedis(size); got != want || (got == "") != (size <= most) {
				t.Errorf("limit %d: %d bytes: %q, and on Redis %q", limit, size, got, want)
			}
		}
	}
	if text := publish(t, bustest.New(t, bustest.MaxPayload(-1)).Bus, 2<<20); text != "" {
		t.Errorf("without a limit: %s", text)
	}
}

// One that is too large does not keep others of its batch from being published, is not
// recorded, and uses no fault up.
func TestTooLargeInABatch(t *testing.T) {
	b := bustest.New(t, bustest.MaxPayload(100))
	var got []string
	topic := topicOf(t, b, orders)
	must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "s", func(_ context.Context, o order) error {
		got = append(got, o.ID[:1])
		return nil
	}))
	large := strings.Repeat("x", 200)
	b.Duplicate(orders.Name, 1)
	err := topic.PublishBatch(t.Context(), []order{{ID: large}, {ID: "a"}, {ID: "b"}, {ID: large}, {ID: "c"}, {ID: large}})
	var be *bus.BatchError
	if !errors.As(err, &be) || len(be.Failed) != 3 || be.Failed[0].Index != 0 || be.Failed[1].Index != 3 || be.Failed[2].Index != 5 ||
		!errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("%v", err)
	}
	bustest.WaitIdle(t, b)
	if text := strings.Join(got, ""); text != "aabc" {
		t.Errorf("handled: %s", text)
	}
	if n := len(bustest.Published(t, b, orders)); n != 3 {
		t.Errorf("%d are recorded as published", n)
	}
}
