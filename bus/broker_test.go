package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// buses makes n buses on one broker.
func buses(t testing.TB, n int) ([]*bus.Bus, *memory.Broker) {
	t.Helper()
	broker := memory.NewBroker()
	all := make([]*bus.Bus, n)
	for i := range all {
		all[i] = newBus(t, bus.Config{Transport: broker.Connect()})
	}
	return all, broker
}

// foreignClient publishes bare envelopes, as something that is no bus.
func foreignClient(t testing.TB, broker *memory.Broker, envs ...*transport.Envelope) {
	t.Helper()
	results := make([]transport.Result, len(envs))
	broker.Connect().Publish(t.Context(), envs, results)
	for _, r := range results {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
}

// Every bus of a broker gets every event, whole, the publisher's own bus
// included.
func TestRoundTripThroughBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, _ := buses(t, 3)
		cfg := bus.TopicConfig[doc]{Name: "docs", Key: func(d doc) string { return d.Name }}
		var all []*list[bus.Message[doc]]
		for i, b := range bs {
			topic := newTopic(t, b, cfg)
			all = append(all, messages(t, topic, "s"))
			if i < 2 {
				all = append(all, messages(t, topic, "second"))
			}
		}
		time.Sleep(12345 * time.Microsecond)
		at := time.Now()
		want := doc{Name: "ключ\x00\"<&>", Tags: map[string]bool{"": true}, Note: "ü\n"}
		headers := map[string]string{"": "empty name", "Ünï": "\x00\xff bytes", "empty": ""}
		opts := []bus.PublishOption{bus.ID("id \xff\"")}
		for k, v := range headers {
			opts = append(opts, bus.Header(k, v))
		}
		if err := newTopic(t, bs[1], cfg).Publish(t.Context(), want, opts...); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for i, got := range all {
			ms := got.get()
			if len(ms) != 1 {
				t.Fatalf("subscription %d got %d", i, len(ms))
			}
			m := ms[0]
			if m.Key != want.Name || m.ID.String() != "id \xff\"" || !m.Time.Equal(at) || m.Topic != "docs" || m.Attempt != 1 {
				t.Errorf("%+v", m)
			}
			if fmt.Sprint(m.Value) != fmt.Sprint(want) || fmt.Sprint(m.Headers) != fmt.Sprint(headers) {
				t.Errorf("%v %v", m.Value, m.Headers)
			}
		}
	})
}

// A payload arrives byte for byte, also when there is none.
func TestPayloadsByteForByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, broker := buses(t, 2)
		cfg := bus.TopicConfig[[]byte]{Name: "raw", Codec: codec.Raw}
		got := messages(t, newTopic(t, bs[0], cfg), "s")
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		payloads := [][]byte{nil, {}, {0}, []byte("text"), every}
		publish(t, newTopic(t, bs[1], cfg), payloads...)
		foreignClient(t, broker, &transport.Envelope{Topic: "raw"}, &transport.Envelope{Topic: "raw", Payload: []byte{}}, &transport.Envelope{Topic: "raw", Payload: every})
		synctest.Wait()
		payloads = append(payloads, nil, nil, every)
		ms := got.get()
		if len(ms) != len(payloads) {
			t.Fatalf("%d of %d", len(ms), len(payloads))
		}
		for i, m := range ms {
			if string(m.Value) != string(payloads[i]) {
				t.Errorf("%d: %q, want %q", i, m.Value, payloads[i])
			}
			if m.ID.IsZero() != (i >= 5) {
				t.Errorf("%d: ID %v", i, m.ID)
			}
		}
	})
}

// An event of a foreign client has what it came with: no ID, no publisher, perhaps no
// time; its key is that of its value.
func TestForeignClientsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, broker := buses(t, 1)
		topic := newTopic(t, bs[0], bus.TopicConfig[event]{Name: "n", Key: eventKey})
		var publishers list[string]
		got := messages(t, topic, "s", bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error {
				publishers.add(fmt.Sprintf("%q %q %v", d.Publisher(), d.ID(), d.Encoded()))
				return next(ctx, d)
			}
		}))
		foreignClient(t, broker, &transport.Envelope{Topic: "n", Payload: []byte(`{"Key":"a","N":7,"More":true}`), Headers: transport.HeadersFromMap(map[string]string{"h": "v"})})
		synctest.Wait()
		publishers.require(t, "publisher", `"" "" true`)
		if ms := got.get(); len(ms) != 1 || ms[0].Value != (event{"a", 7}) || ms[0].Key != "a" || !ms[0].ID.IsZero() || !ms[0].Time.IsZero() || ms[0].Headers.Get("h") != "v" {
			t.Errorf("%+v", ms)
		}
	})
}

// The events of each publisher keep their order, and those of each key with
// partitions and lanes.
func TestOrderThroughBroker(t *testing.T) {
	for _, partitions := range []int{0, 1, 5} {
		for _, lanes := range []int{1, 4} {
			t.Run(fmt.Sprint("partitions ", partitions, " lanes ", lanes), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bs, _ := buses(t, 3)
					cfg := bus.TopicConfig[event]{Name: "n", Key: eventKey, Partitions: partitions}
					var got list[bus.Message[event]]
					parts := map[string]int{}
					var seenParts list[string]
					s, err := newTopic(t, bs[0], cfg).SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
						got.add(m)
						return nil
					}, bus.Lanes(lanes), bus.Mailbox(3, bus.Block), bus.Use(func(next bus.Handler) bus.Handler {
						return func(ctx context.Context, d *bus.Delivery) error {
							seenParts.add(fmt.Sprint(d.Key(), d.Partition()))
							return next(ctx, d)
						}
					}))
					if err != nil {
						t.Fatal(err)
					}
					done := make(chan struct{})
					for i, b := range bs {
						topic := newTopic(t, b, cfg)
						go func() {
							defer func() { done <- struct{}{} }()
							for n := range 300 {
								if n%2 == 0 {
									publish(t, topic, event{fmt.Sprint(i, "-", n%7), n})
								} else if err := topic.PublishBatch(t.Context(), []event{{fmt.Sprint(i, "-", n%7), n}}); err != nil {
									t.Error(err)
								}
							}
						}()
					}
					for range bs {
						<-done
					}
					synctest.Wait()
					if st := stats(t, s); st.Handled != 900 || st.Dropped != 0 {
						t.Errorf("%v", st)
					}
					last := map[string]int{}
					for _, m := range got.get() {
						if prev, ok := last[m.Key]; ok && m.Value.N <= prev {
							t.Fatalf("key %s: %d after %d", m.Key, m.Value.N, prev)
						}
						last[m.Key] = m.Value.N
					}
					for _, p := range seenParts.get() {
						parts[p]++
					}
					if len(parts) != 21 {
						t.Errorf("21 keys came by %d partitions: %v", len(parts), parts)
					}
				})
			})
		}
	}
}

// What cannot be decoded is a dead letter with its bytes, the error names the
// codec, and what comes behind it is handled.
func TestUndecodablePayload(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts []bus.SubscribeOption
	}{{"plain", nil}, {"middleware", []bus.SubscribeOption{bus.Use(passThrough)}}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bs, broker := buses(t, 1)
				topic := newTopic(t, bs[0], bus.TopicConfig[event]{Name: "jobs"})
				var got list[event]
				s := subscribe(t, topic, "worker", func(_ context.Context, e event) error { got.add(e); return nil }, tc.opts...)
				bad := []string{"", "{", `{"Key":"half","N":"no number"}`, `"text"`, "\x00\xff", `{"N":1} trailing`}
				for _, p := range bad {
					foreignClient(t, broker, &transport.Envelope{Topic: "jobs", ID: "id", Payload: []byte(p)})
				}
				publish(t, topic, event{"a", 1})
				shutdown(t, bs[0])
				got.require(t, "events", event{"a", 1})
				letters := s.DeadLetters()
				if st := stats(t, s); st.DeadLettered != uint64(len(bad)) || len(letters) != len(bad) {
					t.Fatalf("%v", st)
				}
				for i, l := range letters {
					if p, ok := l.Delivery.Payload(); !ok || string(p) != bad[i] || l.Delivery.ID().String() != "id" {
						t.Errorf("payload %q, ID %v", p, l.Delivery.ID())
					}
					if v, ok := bus.Value[event](l.Delivery); ok {
						t.Errorf("a value of what can't be decoded: %v", v)
					}
					var ce *codec.Error
					if !errors.As(l.Err, &ce) || ce.Codec != "json" || l.Attempts != 1 {
						t.Errorf("%v", l.Err)
					}
					requireError(t, l.Err, ce.Err, "jobs", "worker", "json", "decode")
				}
			})
		})
	}
}

// fussy panics where it decodes.
type fussy struct{ N int }

func (f *fussy) UnmarshalJSON(b []byte) error { panic("can't stand " + string(b)) }

// An unmarshaller's panic is a dead letter too, with its stack.
func TestDecoderPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bs, _ := buses(t, 1)
		topic := newTopic(t, bs[0], bus.TopicConfig[fussy]{Name: "n"})
		s := subscribe(t, topic, "s", ignore[fussy])
		publish(t, topic, fussy{1}, fussy{2})
		shutdown(t, bs[0])
		letters := s.DeadLetters()
		if st := stats(t, s); st.DeadLettered != 2 || len(letters) != 2 || !strings.Contains(string(letters[0].Stack), "UnmarshalJSON") {
			t.Errorf("%v %v", st, letters)
		}
	})
}

// With InboxBytes for exactly three, those beyond are one gap with the numbers
// of the missing, until there is room again.
func TestInboxOverflowIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		size := (&transport.Envelope{ID: "id", Payload: []byte("1")}).Size()
		b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect(), InboxBytes: 3 * size, Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		gate := make(chan struct{})
		var got list[int]
		var gaps list[bus.Gap]
		began := time.Now()
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error { <-gate; got.add(n); return nil },
			bus.Mailbox(1, bus.Block), bus.OnGap(func(g bus.Gap) {
				gaps.add(g)
				panic("in the callback")
			}))
		other := subscribe(t, topic, "other", ignore[int])
		burst := func() {
			for n := range 10 {
				if err := topic.Publish(t.Context(), n, bus.ID("id")); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the first runs, the second is in the mailbox, three wait
			}
		}
		burst()
		if st := stats(t, s); st.Dropped != 5 || st.Queued != 4 || st.Running != 1 || st.Accepted != 10 {
			t.Errorf("%v", st)
		}
		for range 5 {
			gate <- struct{}{}
		}
		synctest.Wait()
		burst()
		close(gate)
		shutdown(t, b)
		got.require(t, "handled", 0, 1, 2, 3, 4, 0, 1, 2, 3, 4)
		want := func(from, to, count uint64) bus.Gap {
			return bus.Gap{Topic: "n", Publisher: b.ID(), From: from, To: to, Count: count, Since: began, Kind: transport.Lost, Reason: transport.Overflow}
		}
		if got := s.Gaps(); fmt.Sprint(got) != fmt.Sprint([]bus.Gap{want(6, 10, 5), want(16, 20, 5)}) || got[0].Count != 5 || !got[0].Since.Equal(began) {
			t.Errorf("%+v", got)
		}
		live := gaps.get()
		if len(live) != 10 {
			t.Fatalf("OnGap was told %d times", len(live))
		}
		for i, g := range live {
			n := uint64(6 + i + i/5*5)
			if g.Count != 1 || g.From != n || g.To != n || g.Reason != transport.Overflow {
				t.Errorf("%+v, want number %d", g, n)
			}
		}
		if st := stats(t, s); st.Dropped != 10 || st.Lost != 10 || st.Uncertain != 0 || st.Handled != 10 {
			t.Errorf("%v", st)
		}
		if st := stats(t, other); st.Handled != 20 || len(other.Gaps()) != 0 {
			t.Errorf("the other subscription: %v, %v", st, other.Gaps())
		}
		if n := logs.FilterMessage("events are missing").Len(); n != 1 {
			t.Errorf("%d log lines for two gaps at one time", n)
		}
		if n := logs.FilterMessage("OnGap panicked").Len(); n != 10 {
			t.Errorf("%d log lines for ten panics", n)
		}
	})
}

// Off a broker there is nobody to refuse: Fail drops the newest, and says so.
func TestFailOffBrokerDropsNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect(), Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s, seen, release := blocked(t, topic, "s", bus.Mailbox(2, bus.Fail))
		defer release()
		for n := range 10 {
			publish(t, topic, n)
			synctest.Wait()
		}
		release()
		shutdown(t, b)
		if st := stats(t, s); st.Accepted != 10 || st.Dropped != 7 || st.Handled != 3 || fmt.Sprint(seen()) != "[0 1 2]" {
			t.Errorf("%v, handled %v", st, seen())
		}
		if logs.FilterMessageSnippet("dropped").Len() == 0 {
			t.Error("nothing was logged")
		}
	})
}
