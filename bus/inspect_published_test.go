package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// watched is a bus with a watcher.
func watched(t *testing.T, cfg bus.Config) (*bus.Bus, *watcher) {
	t.Helper()
	b, w := newBus(t, cfg), &watcher{}
	inspect.Of(b).Watch(w)
	return b, w
}

// publishedOf is what was published of T.
func publishedOf[T any](t *testing.T, w *watcher) (msgs []bus.Message[T]) {
	t.Helper()
	for _, d := range w.published.get() {
		m, err := bus.MessageOf[T](d)
		if err != nil {
			t.Fatal(err)
		}
		msgs = append(msgs, m)
	}
	return msgs
}

// A watcher is told of each event that enters a bus in process, whatever the way in: once, in order,
// as its handlers see it.
func TestWatcherSeesWhatIsPublished(t *testing.T) {
	keyed := bus.TopicConfig[event]{Name: "n", Key: eventKey}
	stamped := keyed
	stamped.Stamp = true
	for name, tc := range map[string]struct {
		cfg           bus.TopicConfig[event]
		subscriptions [][]bus.SubscribeOption
	}{
		"nobody":          {keyed, nil},
		"one":             {keyed, [][]bus.SubscribeOption{nil}},
		"stamped":         {stamped, [][]bus.SubscribeOption{nil}},
		"two":             {keyed, [][]bus.SubscribeOption{nil, nil}},
		"lanes":           {keyed, [][]bus.SubscribeOption{{bus.Lanes(4)}}},
		"a mailbox":       {keyed, [][]bus.SubscribeOption{{bus.Mailbox(100, bus.DropNewest)}}},
		"the latest":      {keyed, [][]bus.SubscribeOption{{bus.Mailbox(100, bus.KeepLatest)}, nil}},
		"a group":         {keyed, [][]bus.SubscribeOption{{bus.Group("g")}, {bus.Group("g")}}},
		"something of it": {keyed, [][]bus.SubscribeOption{{bus.Group("g"), bus.Lanes(2)}, {bus.Lanes(3)}, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := watched(t, bus.Config{})
			topic := newTopic(t, b, tc.cfg)
			var want []string
			told := func(e event, id string, headers bus.Headers) {
				want = append(want, fmt.Sprint(e, id, headers, tc.cfg.Stamp))
			}
			for i, opts := range append([][]bus.SubscribeOption{{bus.Lanes(2)}}, tc.subscriptions...) {
				if i == 0 {
					publish(t, topic, event{"before", 0})
					told(event{"before", 0}, "", bus.Headers{})
					continue
				}
				subscribe(t, topic, fmt.Sprint("s", i), func(context.Context, event) error { return nil }, opts...)
			}
			for i := range 100 {
				e := event{fmt.Sprint("k", i%7), i}
				publish(t, topic, e)
				told(e, "", bus.Headers{})
			}
			if err := topic.Publish(t.Context(), event{"a", 1}, bus.ID("id"), bus.Header("h", "v")); err != nil {
				t.Fatal(err)
			}
			told(event{"a", 1}, "id", transport.NewHeaders(transport.Header{Name: "h", Value: "v"}))
			var events []event
			for i := range 150 {
				events = append(events, event{"b", i})
				told(event{"b", i}, "", bus.Headers{})
			}
			if err := topic.PublishBatch(t.Context(), events); err != nil {
				t.Fatal(err)
			}
			var got []string
			seen := make(map[string]bool)
			for _, m := range publishedOf[event](t, w) {
				id := m.ID.String()
				if seen[id] || m.ID.IsZero() || m.Key != m.Value.Key || m.Topic != "n" {
					t.Errorf("%+v", m)
				}
				seen[id] = true
				if id != "id" {
					id = ""
				}
				got = append(got, fmt.Sprint(m.Value, id, m.Headers, !m.Time.IsZero()))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v\nwant\n%v", got, want)
			}
			shutdown(t, b)
		})
	}
}

// It is told before a handler is, and not of what Publish refused, nor of what is put for one
// subscription.
func TestWatcherSeesWhatEntered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := watched(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		failed := errors.New("no")
		sub := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if e.Key == "bad" {
				return failed
			}
			if all := publishedOf[event](t, w); len(all) == 0 || all[len(all)-1].Value != e {
				t.Errorf("%v is handled, and published are %v", e, all)
			}
			return nil
		}, bus.Mailbox(1, bus.Fail))
		for i := range 3 {
			publish(t, topic, event{"a", i})
			synctest.Wait()
		}
		publish(t, topic, event{"bad", 3})
		synctest.Wait()
		if n, err := sub.Replay(t.Context(), nil); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		synctest.Wait()
		sub.Pause()
		publish(t, topic, event{"a", 4})
		requireError(t, topic.Publish(t.Context(), event{"a", 5}), bus.ErrMailboxFull)
		if err := topic.PublishBatch(t.Context(), []event{{"a", 6}}); !errors.Is(err, bus.ErrMailboxFull) {
			t.Error(err)
		}
		sub.Resume()
		synctest.Wait()
		shutdown(t, b)
		requireError(t, topic.Publish(t.Context(), event{"a", 7}), bus.ErrClosed)
		var got list[event]
		for _, m := range publishedOf[event](t, w) {
			got.add(m.Value)
		}
		got.require(t, "published", event{"a", 0}, event{"a", 1}, event{"a", 2}, event{"bad", 3}, event{"a", 4})
	})
}

// A question is an event; one that finds no subscriber was not published.
func TestWatcherSeesQuestions(t *testing.T) {
	b, w := watched(t, bus.Config{})
	topic := newTopic(t, b, questions)
	if _, err := bus.Ask(t.Context(), topic, "nobody"); !errors.Is(err, bus.ErrNoSubscriber) {
		t.Error(err)
	}
	subscribe(t, topic, "s", bus.Answer(length))
	if n, err := bus.Ask(t.Context(), topic, "four"); n != 4 || err != nil {
		t.Error(n, err)
	}
	if all := publishedOf[question](t, w); len(all) != 1 || all[0].Value.Query != "four" || all[0].Value.Reply(1) == nil {
		t.Errorf("%+v", all)
	}
}

// What goes through a transport is seen there.
func TestWatcherDoesNotSeeATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, w := watched(t, bus.Config{Transport: memory.NewBroker().Connect(), Grace: time.Second})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, event) error { return nil })
		publish(t, topic, event{"a", 1})
		synctest.Wait()
		if n := len(w.published.get()); n != 0 || stats(t, s).Handled != 1 {
			t.Errorf("%d published, %v", n, stats(t, s))
		}
	})
}
