package middleware_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport"
)

// Foreign events are the same if ID and source are, as CloudEvents has it. A bus's given ID is its
// own in all its lives.
func TestDedupOfForeignEvents(t *testing.T) {
	b := bustest.New(t)
	var r record
	jobs := bus.TopicConfig[job]{Name: "jobs"}
	sub := must[*bus.Subscription](t)(must[*bus.Topic[job]](t)(bus.NewTopic(b.Bus, jobs)).SubscribeMessage(t.Context(), "s",
		func(_ context.Context, m bus.Message[job]) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.ids = append(r.ids, m.Headers.Get("is"))
			return nil
		}, bus.Use(middleware.Dedup(middleware.DedupConfig{}))))
	inject := func(source, is string) {
		b.Inject(&transport.Envelope{Topic: "jobs", Publisher: source, ID: "1", Payload: []byte("{}"), Headers: transport.HeadersFromMap(map[string]string{"is": is})})
	}
	inject("/a", "1 of a")
	inject("/b", "1 of b")
	inject("/a", "1 of a again")
	inject("abcdefghijkl2", "1 of a bus")
	inject("zyxwvutsrqpo7", "1 of a bus, which lives again")
	bustest.WaitIdle(t, b)
	if want := []string{"1 of a", "1 of b", "1 of a bus"}; !slices.Equal(r.ids, want) {
		t.Errorf("handled %q, want %q", r.ids, want)
	}
	if st := sub.Stats(); st.Discarded != 2 {
		t.Error(st)
	}
}

// A malformed message is no repetition: it is given up with its reason, whatever ID it has.
func TestDedupPassesMalformed(t *testing.T) {
	b := bustest.New(t)
	jobs := bus.TopicConfig[job]{Name: "jobs"}
	sub := must[*bus.Subscription](t)(must[*bus.Topic[job]](t)(bus.NewTopic(b.Bus, jobs)).Subscribe(t.Context(), "s",
		func(context.Context, job) error { return nil }, bus.Use(middleware.Dedup(middleware.DedupConfig{}))))
	b.Inject(&transport.Envelope{Topic: "jobs", Publisher: "/a", ID: "1", Payload: []byte("{}")})
	b.Inject(&transport.Envelope{Topic: "jobs", Publisher: "/a", ID: "1", Payload: []byte("raw"), Malformed: transport.ErrMalformed})
	b.Inject(&transport.Envelope{Topic: "jobs", Publisher: "/a", ID: "1", Payload: []byte("raw"), Malformed: transport.ErrMalformed})
	bustest.WaitIdle(t, b)
	if st := sub.Stats(); st.Handled != 1 || st.DeadLettered != 2 {
		t.Error(st)
	}
	for _, l := range bustest.DeadLettered(t, b, jobs, "s") {
		if !errors.Is(l.Err, transport.ErrMalformed) || string(l.Payload) != "raw" {
			t.Errorf("%q: %v", l.Payload, l.Err)
		}
	}
}
