package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// A malformed message is a dead letter with its bytes and the reason in every kind of subscription. No handler, codec or
// key function gets it, though the codec could read it.
func TestMalformedMessagesAreDeadLetters(t *testing.T) {
	topic := bus.TopicConfig[event]{Name: "n", Key: eventKey}
	handler := func(context.Context, event) error { return errors.New("handled") }
	for name, subscribe := range map[string]func(*testing.T, *bus.Topic[event]) (*bus.Subscription, error){
		"handler": func(t *testing.T, topic *bus.Topic[event]) (*bus.Subscription, error) {
			return topic.Subscribe(t.Context(), "s", handler)
		},
		"lanes": func(t *testing.T, topic *bus.Topic[event]) (*bus.Subscription, error) {
			return topic.Subscribe(t.Context(), "s", handler, bus.Lanes(8))
		},
		"keep latest": func(t *testing.T, topic *bus.Topic[event]) (*bus.Subscription, error) {
			return topic.Subscribe(t.Context(), "s", handler, bus.Mailbox(8, bus.KeepLatest))
		},
		"batch": func(t *testing.T, topic *bus.Topic[event]) (*bus.Subscription, error) {
			return topic.SubscribeBatch(t.Context(), "s", func(_ context.Context, batch []bus.Message[event]) error {
				return fmt.Errorf("handled %d", len(batch))
			})
		},
		"another codec": func(t *testing.T, topic *bus.Topic[event]) (*bus.Subscription, error) {
			return topic.Subscribe(t.Context(), "s", handler, bus.Use(func(next bus.Handler) bus.Handler {
				return func(ctx context.Context, d *bus.Delivery) error {
					if err := d.Decode(codec.JSON); err != nil {
						return err
					}
					return next(ctx, d)
				}
			}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bs, broker := buses(t, 1)
				s, err := subscribe(t, newTopic(t, bs[0], topic))
				if err != nil {
					t.Fatal(err)
				}
				const raw = `{"Key":"a","N":1}`
				why := fmt.Errorf("%w: it has no source", transport.ErrMalformed)
				foreignClient(t, broker,
					&transport.Envelope{Topic: "n", Payload: []byte(raw), Malformed: why},
					&transport.Envelope{Topic: "n", Payload: []byte(raw), Malformed: why, Publisher: "/x", ID: "1"},
				)
				synctest.Wait()
				letters := s.DeadLetters()
				if st := stats(t, s); st.Accepted != 2 || st.DeadLettered != 2 || len(letters) != 2 {
					t.Fatalf("%v, %d letters", st, len(letters))
				}
				for _, l := range letters {
					payload, _ := l.Delivery.Payload()
					if string(payload) != raw || !l.Delivery.Encoded() || l.Delivery.Key() != "" || l.Attempts != 1 {
						t.Errorf("%+v", l)
					}
					if !errors.Is(l.Err, transport.ErrMalformed) || !errors.Is(l.Delivery.Malformed(), transport.ErrMalformed) {
						t.Errorf("the reason is %v and %v", l.Err, l.Delivery.Malformed())
					}
					requireError(t, l.Err, why, "decode", "n", "s", "it has no source")
				}
				// Neither has a key: with several lanes either may be handled first.
				named := slices.IndexFunc(letters, func(l bus.Letter) bool { return !l.Delivery.ID().IsZero() })
				if named < 0 {
					t.Fatal("no dead letter has an ID")
				}
				if id := letters[named].Delivery.ID(); id.String() != "1" || id.Source() != "/x" {
					t.Errorf("ID %q of %q", id, id.Source())
				}
			})
		})
	}
}

// An event without data says so, whatever its codec says.
func TestNoData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, broker := buses(t, 1)
		s := subscribe(t, newTopic(t, bs[0], bus.TopicConfig[event]{Name: "n"}), "s", ignore[event])
		foreignClient(t, broker, &transport.Envelope{Topic: "n", Publisher: "/x", ID: "1"})
		synctest.Wait()
		letters := s.DeadLetters()
		if len(letters) != 1 {
			t.Fatalf("%v", stats(t, s))
		}
		requireError(t, letters[0].Err, letters[0].Err, "decode", "no data")
		if errors.Is(letters[0].Err, transport.ErrMalformed) || letters[0].Delivery.Malformed() != nil {
			t.Errorf("it is well formed: %v", letters[0].Err)
		}
	})
}

// The IDs of foreign events are compared with their sources; those of buses, given by ID, without their publishers.
func TestMessageIDsOfForeignEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, broker := buses(t, 3)
		cfg := bus.TopicConfig[int]{Name: "n"}
		got := messages(t, newTopic(t, bs[0], cfg), "s")
		for _, b := range bs {
			if err := newTopic(t, b, cfg).Publish(t.Context(), 1, bus.ID("1")); err != nil {
				t.Fatal(err)
			}
		}
		foreignClient(t, broker,
			&transport.Envelope{Topic: "n", Publisher: "/a", ID: "1", Payload: []byte("1")},
			&transport.Envelope{Topic: "n", Publisher: "/b", ID: "1", Payload: []byte("1")},
			&transport.Envelope{Topic: "n", Publisher: "/a", ID: "1", Payload: []byte("1")},
			&transport.Envelope{Topic: "n", Payload: []byte("1")},
		)
		synctest.Wait()
		ms := got.get()
		if len(ms) != 7 {
			t.Fatalf("%d events", len(ms))
		}
		times := map[bus.MessageID]int{}
		for _, m := range ms {
			times[m.ID]++
			if m.ID.String() != "1" && !m.ID.IsZero() {
				t.Errorf("ID %q", m.ID)
			}
		}
		bySource := map[string]int{}
		for id, n := range times {
			bySource[fmt.Sprint(id.Source(), " ", id.IsZero())] = n
		}
		if want := (map[string]int{" false": 3, "/a false": 2, "/b false": 1, " true": 1}); fmt.Sprint(bySource) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", bySource, want)
		}
	})
}

// Foreign events that tell no key keep order per key in several lanes, as bare payloads do.
func TestForeignEventsKeepOrderPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, broker := buses(t, 1)
		topic := newTopic(t, bs[0], bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var mu sync.Mutex
		last := map[string]int{}
		s, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
			if m.Value.N%5 == 0 && m.Attempt == 1 {
				return bus.RetryAfter(time.Second, errBad)
			}
			mu.Lock()
			defer mu.Unlock()
			if m.Key != m.Value.Key || m.Value.N != last[m.Key]+1 {
				t.Errorf("%v with key %q after %d", m.Value, m.Key, last[m.Key])
			}
			last[m.Key] = m.Value.N
			return nil
		}, bus.Lanes(8))
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 50; n++ {
			for k := range 5 {
				foreignClient(t, broker, &transport.Envelope{
					Topic: "n", Publisher: "/x", ID: fmt.Sprint(k, n), Payload: fmt.Appendf(nil, `{"Key":"k%d","N":%d}`, k, n),
				})
			}
		}
		time.Sleep(time.Minute)
		if st := stats(t, s); st.Handled != 250 {
			t.Errorf("%v", st)
		}
	})
}

// A codec must say what it writes.
func TestContentTypesAreMediaTypes(t *testing.T) {
	b := newBus(t, bus.Config{})
	for contentType, valid := range map[string]bool{
		"application/json": true, "text/plain; charset=utf-8": true, "application/vnd.x.v1+json": true, `a/b; c="d e"`: true,
		"": false, " ": false, "json": false, "application/": false, "/json": false, "a b/c": false, "application/json; charset": false,
		"a/b\n": false, "text/plain; a=1; a=2": false, "schlüssel/x": false,
	} {
		_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: fmt.Sprintf("n%x", contentType), Codec: named{codec.JSON, contentType}})
		if valid && err != nil || !valid && !errors.Is(err, bus.ErrInvalidConfig) {
			t.Errorf("%q: %v", contentType, err)
		}
		if !valid {
			requireError(t, err, bus.ErrInvalidConfig, "new topic", fmt.Sprintf("%q", contentType), "media type", "application/json")
		}
	}
}

// named is a codec that says what it writes.
type named struct {
	codec.Codec
	contentType string
}

func (n named) ContentType() string { return n.contentType }
