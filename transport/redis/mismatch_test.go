package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// process is a bus on Redis, as a process has one.
type process struct {
	*bus.Bus
	logs *observer.ObservedLogs
	mute bool // it has no Repair, and so says nothing of its topics
}

func newProcess(t testing.TB, cfg redis.Config) *process {
	t.Helper()
	tr, err := redis.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.WarnLevel)
	b, err := bus.New(bus.Config{Transport: tr, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return &process{b, logs, cfg.Repair.Off}
}

// takes waits until a process has found n peers that know the topic otherwise, logged each once, and what differs.
func takes[T any](t *testing.T, p *process, topic *bus.Topic[T], n int, says string) {
	t.Helper()
	for limit := time.Now().Add(patience); len(topic.Mismatches()) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("found: %v, want %d", topic.Mismatches(), n)
		}
	}
	found := topic.Mismatches()
	if len(found) != n {
		t.Errorf("found: %v, want %d", found, n)
	}
	for _, m := range found {
		if !strings.Contains(m.String(), says) {
			t.Errorf("%v does not say %q", m, says)
		}
	}
	if logged := p.logs.FilterMessage("another process knows the topic with other settings").All(); len(logged) != n {
		t.Errorf("%d are logged, want %d: %v", len(logged), n, logged)
	}
}

func topicOf[T any](t testing.TB, p *process, cfg bus.TopicConfig[T]) *bus.Topic[T] {
	t.Helper()
	topic, err := bus.NewTopic(p.Bus, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func subscribeTo[T any](t testing.TB, topic *bus.Topic[T], h func(context.Context, T) error) *bus.Subscription {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sub, err := topic.Subscribe(ctx, "s", h)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func publishOn[T any](t testing.TB, topic *bus.Topic[T], event T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := topic.Publish(ctx, event); err != nil {
		t.Fatal(err)
	}
}

// onFake runs f in a bubble with a cluster.
func onFake(t *testing.T, f func(t *testing.T, cfg redis.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		f(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
	})
}

// disagreeOnPartitions has one process publish on 8 partitions what another subscribes to on 4.
func disagreeOnPartitions(t *testing.T, cfg redis.Config, publisherFirst bool) {
	name := "partitions"
	sub, pub := newProcess(t, cfg), newProcess(t, cfg)
	four := topicOf(t, sub, bus.TopicConfig[string]{Name: name, Partitions: 4})
	eight := topicOf(t, pub, bus.TopicConfig[string]{Name: name, Partitions: 8})
	h := func(context.Context, string) error { return nil }
	var s *bus.Subscription
	if publisherFirst {
		for range 8 {
			publishOn(t, eight, "a")
		}
		s = subscribeTo(t, four, h)
	} else {
		s = subscribeTo(t, four, h)
		time.Sleep(remindedAt)
		for range 8 {
			publishOn(t, eight, "a")
		}
	}
	takes(t, sub, four, 1, "at publisher "+pub.ID()+" it has 8 partitions, not 4 partitions")
	takes(t, pub, eight, 1, "it has 4 partitions, not 8 partitions")
	if m := four.Mismatches()[0]; m.Subscribes || m.Peer != pub.ID() || m.There.Partitions != 8 {
		t.Errorf("%+v", m)
	}
	if m := eight.Mismatches()[0]; !m.Subscribes || m.Peer == "" || m.There.Partitions != 4 {
		t.Errorf("%+v", m)
	}
	if st := s.Stats(); st.Accepted != 0 {
		t.Errorf("%v", st)
	}
}

// remindedAt is a time at which a bubble's subscriber asks publishers rarely by now.
const remindedAt = 10 * time.Second

// Who publishes on other partitions than are subscribed to is found, on both sides, whoever comes first: nothing else ever
// would tell.
func TestMismatchOfPartitions(t *testing.T) {
	for _, publisherFirst := range []bool{true, false} {
		onFake(t, func(t *testing.T, cfg redis.Config) { disagreeOnPartitions(t, cfg, publisherFirst) })
	}
}

func TestMismatchOfPartitionsOnACluster(t *testing.T) {
	disagreeOnPartitions(t, redis.Config{Addrs: cluster.Cluster(t).Addrs()}, true)
}

// Processes that agree are not told of anything, and what is not known is not compared.
func TestNoMismatch(t *testing.T) {
	onFake(t, func(t *testing.T, cfg redis.Config) {
		sub, pub := newProcess(t, cfg), newProcess(t, cfg)
		config := bus.TopicConfig[string]{Name: "agreed", Partitions: 4}
		s := subscribeTo(t, topicOf(t, sub, config), func(context.Context, string) error { return nil })
		publishOn(t, topicOf(t, pub, config), "a")
		time.Sleep(2 * time.Minute)
		for _, p := range []*process{sub, pub} {
			if found := topicOf(t, p, config).Mismatches(); found != nil {
				t.Errorf("%v", found)
			}
		}
		if st := s.Stats(); st.Handled != 1 {
			t.Errorf("%v", st)
		}
	})
}

type (
	takeOff struct{ Origin string }
	landing struct{ Destination string }
)

// disagreeOnTypes has one process publish take-offs where another expects landings, which JSON would decode to nothing.
func disagreeOnTypes(t *testing.T, cfg redis.Config, name string) {
	pub := newProcess(t, cfg)
	cfg.Repair.Off, cfg.Compact = false, false // they are the publisher's
	sub := newProcess(t, cfg)
	from := topicOf(t, pub, bus.TopicConfig[takeOff]{Name: name})
	to := topicOf(t, sub, bus.TopicConfig[landing]{Name: name})
	publishOn(t, from, takeOff{"before"})
	s := subscribeTo(t, to, func(_ context.Context, a landing) error {
		t.Errorf("handled %+v", a)
		return nil
	})
	const n = 10
	for range n {
		publishOn(t, from, takeOff{"SFO"})
	}
	for limit := time.Now().Add(patience); s.Stats().DeadLettered < n && time.Now().Before(limit); {
		time.Sleep(10 * time.Millisecond)
	}
	messages := s.DeadLetters()
	if len(messages) != n {
		t.Fatalf("%v", s.Stats())
	}
	for _, l := range messages {
		payload, _ := l.Delivery.Payload()
		if !errors.Is(l.Err, bus.ErrOtherType) || string(payload) != `{"Origin":"SFO"}` {
			t.Errorf("%v, %s", l.Err, payload)
		}
	}
	const says = "its events are "
	if pub.mute {
		return
	}
	takes(t, sub, to, 1, says+"takeOff")
	takes(t, pub, from, 1, says+"landing")
}

// An own event of another type is a dead letter, in both forms, and without Repair too: each says its type itself.
func TestEventsOfAnotherTypeAreDeadMessages(t *testing.T) {
	for name, change := range map[string]func(*redis.Config){
		"document": func(*redis.Config) {}, "compact": func(cfg *redis.Config) { cfg.Compact = true },
		"without-repair": func(cfg *redis.Config) { cfg.Repair.Off = true },
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, cfg redis.Config) {
				change(&cfg)
				disagreeOnTypes(t, cfg, "types")
			})
		})
	}
}

func TestEventsOfAnotherTypeOnACluster(t *testing.T) {
	disagreeOnTypes(t, redis.Config{Addrs: cluster.Cluster(t).Addrs()}, "types-on-a-cluster")
}

// Who publishes with another codec is found, on both sides, though the types have no name and the channel is the same.
func TestMismatchOfContentTypes(t *testing.T) {
	onFake(t, func(t *testing.T, cfg redis.Config) {
		sub, pub := newProcess(t, cfg), newProcess(t, cfg)
		raw := topicOf(t, pub, bus.TopicConfig[string]{Name: "codecs", Codec: codec.Raw})
		plain := topicOf(t, sub, bus.TopicConfig[string]{Name: "codecs"})
		publishOn(t, raw, "before")
		s := subscribeTo(t, plain, func(_ context.Context, text string) error {
			t.Errorf("handled %q", text)
			return nil
		})
		for range 5 {
			publishOn(t, raw, "no JSON")
		}
		time.Sleep(2 * time.Minute) // what is asked again meanwhile tells nothing new
		takes(t, sub, plain, 1, "at publisher "+pub.ID()+" its payloads are application/octet-stream, not application/json")
		takes(t, pub, raw, 1, "its payloads are application/json, not application/octet-stream")
		if st := s.Stats(); st.DeadLettered != 5 || st.Accepted != 5 {
			t.Errorf("%v", st)
		}
	})
}

// The CloudEvents type is never compared, and foreign events have no name.
func TestForeignEventsHaveAnyType(t *testing.T) {
	onFake(t, func(t *testing.T, cfg redis.Config) {
		sub := newProcess(t, cfg)
		var got []landing
		s := subscribeTo(t, topicOf(t, sub, bus.TopicConfig[landing]{Name: "foreign"}), func(_ context.Context, a landing) error {
			got = append(got, a)
			return nil
		})
		c := serve(t, cfg) // it numbers as it likes, and knows no types
		for _, text := range []string{`{"Destination":"a"}`, `{"Destination":"b"}`} {
			if res := c.publish(t.Context(), transport.Envelope{Topic: "foreign", Publisher: "/me", ID: text, Payload: []byte(text)}); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		time.Sleep(time.Second)
		if s.Stats().Handled != 2 || len(got) != 2 || got[1].Destination != "b" {
			t.Errorf("%v, %v", got, s.Stats())
		}
		c.stop()
	})
}
