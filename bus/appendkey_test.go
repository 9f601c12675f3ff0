package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// tickKey is the key of a tick for AppendKey; 0 is none.
func tickKey(dst []byte, e tick) []byte {
	if e.Key == 0 {
		return dst
	}
	return strconv.AppendUint(dst, e.Key, 10)
}

// TestAppendKey: whatever has a key from AppendKey is handled as with the same key from Key: lanes, groups, actors, KeepLatest,
// retries and partitions agree.
func TestAppendKey(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		b := newBus(t, cfg)
		appended := newTopic(t, b, bus.TopicConfig[tick]{Name: "appended", AppendKey: tickKey, Partitions: 8})
		strings := newTopic(t, b, bus.TopicConfig[tick]{Name: "strings", Partitions: 8, Key: func(e tick) string { return string(tickKey(nil, e)) }})
		type seen struct {
			mu   sync.Mutex
			keys map[string][]uint64 // key: IDs in order
			part map[string]int
		}
		record := func(s *seen, d *bus.Delivery) {
			v, _ := bus.Value[tick](d)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.keys[d.Key()] = append(s.keys[d.Key()], v.ID)
			s.part[d.Key()] = d.Partition()
		}
		all := map[string]*seen{}
		use := func(name string) bus.Option {
			s := &seen{keys: map[string][]uint64{}, part: map[string]int{}}
			all[name] = s
			return bus.Use(func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					err := d.Decode(nil)
					if v, _ := bus.Value[tick](d); err == nil && v.ID%7 == 3 && d.Attempt() == 1 {
						return bus.RetryAfter(0, errors.New("once more"))
					}
					record(s, d)
					return errors.Join(err, next(ctx, d))
				}
			})
		}
		for _, topic := range []*bus.Topic[tick]{appended, strings} {
			subscribe(t, topic, "lanes", ignore[tick], bus.Lanes(4), use(topic.Name()+" lanes"))
			if _, err := topic.Spawn(t.Context(), "actors", func(_ context.Context, key string) (bus.Actor[tick], error) {
				return bus.Actor[tick]{Handle: func(_ context.Context, e tick) error {
					if key != string(tickKey(nil, e)) {
						t.Errorf("%v at the actor of %q", e, key)
					}
					return nil
				}}, nil
			}, bus.Lanes(2), use(topic.Name()+" actors")); err != nil {
				t.Fatal(err)
			}
			if cfg.Transport == nil {
				for _, member := range []string{"a", "b"} {
					subscribe(t, topic, "member-"+member, ignore[tick], bus.Group("g"), bus.Lanes(2), use(topic.Name()+" "+member))
				}
			}
		}
		latest, err := appended.SubscribeMessage(t.Context(), "latest", func(context.Context, bus.Message[tick]) error { return nil }, bus.Mailbox(100, bus.KeepLatest))
		if err != nil {
			t.Fatal(err)
		}
		latest.Pause()
		random := rand.New(rand.NewPCG(1, 2))
		var batch []tick
		for id := range uint64(400) {
			e := tick{ID: id, Key: 1 + random.Uint64N(10)}
			if id < 200 {
				publish(t, appended, e)
				publish(t, strings, e)
			} else {
				batch = append(batch, e)
			}
		}
		for _, topic := range []*bus.Topic[tick]{appended, strings} {
			if err := topic.PublishBatch(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
			if err := topic.PublishMessages(t.Context(), []bus.Outgoing[tick]{{Value: tick{ID: 400, Key: 3}, ID: "own"}}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if st := stats(t, latest); st.Queued != 10 || st.Dropped != 391 {
			t.Errorf("KeepLatest: %v", st)
		}
		shutdown(t, b)
		for _, kind := range []string{" lanes", " actors"} {
			a, s := all["appended"+kind], all["strings"+kind]
			if len(a.keys) != 10 || fmt.Sprint(a.keys) != fmt.Sprint(s.keys) || fmt.Sprint(a.part) != fmt.Sprint(s.part) {
				t.Errorf("%s:\n%v %v\n%v %v", kind, a.keys, a.part, s.keys, s.part)
			}
		}
		if cfg.Transport == nil {
			a, b := all["appended a"], all["appended b"]
			for key := range a.keys {
				if _, both := b.keys[key]; both {
					t.Errorf("key %q went to both members", key)
				}
			}
			if len(a.keys)+len(b.keys) != 10 {
				t.Errorf("%d and %d keys", len(a.keys), len(b.keys))
			}
		}
	})
}

// TestAppendKeyIsChecked: what can't work is refused, and what user code does wrong harms nobody.
func TestAppendKeyIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		_, err := bus.NewTopic(b, bus.TopicConfig[tick]{Name: "n", AppendKey: tickKey, Key: func(tick) string { return "" }})
		requireError(t, err, bus.ErrInvalidConfig, "Key and AppendKey")
		topic := newTopic(t, b, bus.TopicConfig[tick]{Name: "n", AppendKey: func(dst []byte, e tick) []byte {
			if e.ID == 13 {
				panic("of AppendKey")
			}
			return tickKey(dst, e)
		}})
		_, err = bus.NewTopic(b, bus.TopicConfig[tick]{Name: "n"})
		requireError(t, err, bus.ErrTopicConflict, "AppendKey")
		sub := subscribe(t, topic, "s", ignore[tick], bus.Lanes(2))
		func() {
			defer func() {
				if r := recover(); r != "of AppendKey" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = topic.Publish(t.Context(), tick{ID: 13, Key: 1})
		}()
		publish(t, topic, tick{ID: 1, Key: 1}, tick{ID: 2})
		shutdown(t, b)
		if st := stats(t, sub); st.Handled != 2 {
			t.Errorf("%v", st)
		}
	})
}

// TestAppendKeyAllocatesNothing: an integer key costs no allocation in process, with lanes and actors, and none beside the
// payload's on its way to a transport.
func TestAppendKeyAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := context.Background()
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[tick]{Name: "ticks", AppendKey: tickKey})
	subscribe(t, topic, "lanes", ignore[tick], bus.Lanes(4), bus.Mailbox(16, bus.Block))
	if _, err := topic.Spawn(ctx, "actors", func(context.Context, string) (bus.Actor[tick], error) {
		return bus.Actor[tick]{Handle: ignore[tick]}, nil
	}, bus.Lanes(2), bus.Mailbox(16, bus.Block)); err != nil {
		t.Fatal(err)
	}
	key := uint64(0)
	one := func() {
		key++
		if err := topic.Publish(ctx, tick{ID: key, Key: 1_000_000 + key%100}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 {
		one()
	}
	if n := testing.AllocsPerRun(5000, one); n != 0 {
		t.Errorf("%v allocations an event in process", n)
	}
	shutdown(t, b)

	per := func(cfg bus.TopicConfig[tick]) float64 {
		b := newBus(t, bus.Config{Transport: sinkhole{}})
		cfg.Name, cfg.Codec = "ticks", fixed{}
		topic := newTopic(t, b, cfg)
		n := testing.AllocsPerRun(500, func() { _ = topic.Publish(ctx, tick{ID: 1, Key: 1_234_567}) })
		shutdown(t, b)
		return n
	}
	if none, appended := per(bus.TopicConfig[tick]{}), per(bus.TopicConfig[tick]{AppendKey: tickKey}); appended > none {
		t.Errorf("%v allocations with a key, %v without", appended, none)
	}
}

// TestAppendKeyMayReturnItsOwn: memory that AppendKey returns in place of what it is given is read, and never written to.
func TestAppendKeyMayReturnItsOwn(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		const text = "memory of the user"
		own := []byte(text + ", and what is behind it")
		b := newBus(t, cfg)
		returns := newTopic(t, b, bus.TopicConfig[tick]{Name: "returns", Codec: fixed{}, AppendKey: func(dst []byte, e tick) []byte {
			if e.Key == 0 { // another key
				return strconv.AppendUint(dst, e.ID, 10)
			}
			return own[:len(text)]
		}})
		var keys list[string]
		subscribe(t, returns, "lanes", ignore[tick], bus.Lanes(4), bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				keys.add(d.Key())
				return next(ctx, d)
			}
		}))
		if _, err := returns.Spawn(t.Context(), "actors", func(context.Context, string) (bus.Actor[tick], error) {
			return bus.Actor[tick]{Handle: ignore[tick]}, nil
		}); err != nil {
			t.Fatal(err)
		}
		for n := range uint64(20) { // the race detector has a pool forget now and then
			publish(t, returns, tick{Key: 1}, tick{ID: 1_000_000 + n})
		}
		shutdown(t, b)
		if string(own) != text+", and what is behind it" {
			t.Errorf("it was written to: %q", own)
		}
		n := 0
		for _, key := range keys.get() {
			if key == text {
				n++
			}
		}
		if n != 20 || len(keys.get()) != 40 {
			t.Errorf("%d of %d keys", n, len(keys.get()))
		}
	})
}

// TestAppendKeyRoomIsBounded: a large event does not make the buffers of those after it large.
func TestAppendKeyRoomIsBounded(t *testing.T) {
	b := newBus(t, bus.Config{Transport: sinkhole{}})
	var rooms list[int]
	topic := newTopic(t, b, bus.TopicConfig[tick]{Name: "n", AppendKey: tickKey, Codec: sized{rooms: &rooms}})
	publish(t, topic, tick{ID: 1 << 20, Key: 1}, tick{ID: 1, Key: 1}, tick{ID: 1, Key: 1})
	shutdown(t, b)
	if got := rooms.get(); len(got) != 3 || got[0] != 64 || got[1] != 1024 || got[2] != 64 {
		t.Errorf("room for %v bytes", got)
	}
}

// sized is a codec that writes as many bytes as the ID says, and notes for how many there was room.
type sized struct {
	fixed
	rooms *list[int]
}

func (c sized) Append(dst []byte, v any) ([]byte, error) {
	c.rooms.add(cap(dst))
	return append(dst, make([]byte, v.(*tick).ID)...), nil
}

// sinkhole is a transport that accepts all and delivers nothing.
type sinkhole struct{}

func (sinkhole) Capabilities() transport.Capabilities {
	return transport.Capabilities{Name: "sinkhole"}
}
func (sinkhole) Serve(ctx context.Context, _ transport.Sink) error {
	<-ctx.Done()
	return nil
}
func (sinkhole) Publish(_ context.Context, _ []*transport.Envelope, results []transport.Result) {
	clear(results)
}
func (sinkhole) Subscribe(context.Context, transport.Topic) error   { return nil }
func (sinkhole) Unsubscribe(context.Context, transport.Topic) error { return nil }

// fixed is a codec that writes 40 bytes, which allocates nothing but the buffer.
type fixed struct{}

func (fixed) Name() string        { return "fixed" }
func (fixed) ContentType() string { return "application/octet-stream" }
func (fixed) Append(dst []byte, _ any) ([]byte, error) {
	return append(dst, "0123456789012345678901234567890123456789"...), nil
}
func (fixed) Decode([]byte, any) error { return nil }

var _ codec.Codec = fixed{}
