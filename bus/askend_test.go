package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Askers whose requests wait, in a mailbox or for another attempt, are told when those are
// abandoned, also behind a handler that hangs; the one it hangs with when it returns.
func TestAskersAreToldWhenAbandoned(t *testing.T) {
	kinds := map[string][]bus.Option{
		"log":         nil,
		"own log":     {bus.Lanes(1), bus.Mailbox(10, bus.DropNewest)},
		"drop oldest": {bus.Mailbox(10, bus.DropOldest)},
		"keep latest": {bus.Mailbox(10, bus.KeepLatest)},
		"small":       {bus.Mailbox(3, bus.Block)}, // the last waits for room
	}
	ends := map[string]func(b *bus.Bus, s *bus.Subscription, ctx context.Context) error{
		"shutdown": func(b *bus.Bus, _ *bus.Subscription, ctx context.Context) error { return b.Shutdown(ctx) },
		"drain":    func(_ *bus.Bus, s *bus.Subscription, ctx context.Context) error { return s.Drain(ctx) },
		"close":    func(b *bus.Bus, _ *bus.Subscription, _ context.Context) error { return b.Close() },
	}
	for kind, opts := range kinds {
		for how, end := range ends {
			for _, second := range []bool{false, true} { // a subscription that shares the log
				if second && how != "drain" {
					continue // it would abandon what the handler has in hand, and tell that asker
				}
				t.Run(kind+" "+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := newBus(t, bus.Config{Grace: time.Second})
						topic := newTopic(t, b, bus.TopicConfig[bus.Request[event, int]]{
							Name: "n", Key: func(r bus.Request[event, int]) string { return r.Query.Key },
						})
						release := make(chan struct{})
						var all []bus.SubscribeOption
						for _, o := range opts {
							all = append(all, o)
						}
						s := subscribe(t, topic, "s", func(_ context.Context, r bus.Request[event, int]) error {
							switch r.Query.N {
							case 1:
								return bus.Snooze(time.Hour)
							case 2:
								<-release
							}
							return r.Reply(r.Query.N)
						}, all...)
						if second {
							silent := subscribe(t, topic, "silent", func(context.Context, bus.Request[event, int]) error { return bus.Snooze(time.Hour) })
							defer func() {
								if err := silent.Drain(expired()); err == nil && how == "drain" {
									t.Error("drained")
								}
							}()
						}
						type answer struct {
							n, reply int
							err      error
						}
						answers := make(chan answer, 10)
						for i, e := range []event{{"p", 1}, {"p", 3}, {"a", 2}, {"b", 4}, {"c", 5}, {"d", 6}, {"e", 7}} {
							go func() {
								reply, err := bus.Ask(context.Background(), topic, e)
								answers <- answer{e.N, reply, err}
							}()
							synctest.Wait()
							if len(answers) > 0 {
								t.Fatalf("answer %d: %v", i, <-answers)
							}
						}
						ctx, cancel := context.WithTimeout(t.Context(), time.Second)
						defer cancel()
						ended := make(chan error, 1)
						go func() { ended <- end(b, s, ctx) }()
						time.Sleep(1100 * time.Millisecond)
						synctest.Wait()
						if err := <-ended; err == nil {
							t.Error("the end had nothing to say")
						}
						want := 6
						if second && kind == "small" {
							want = 5 // the last found room where nobody answers
						}
						if len(answers) != want {
							t.Errorf("%d askers were told, want 6; %v", len(answers), s.Stats())
						}
						close(release)
						for range want + 1 {
							if a := <-answers; a.n == 2 && (a.err != nil || a.reply != 2) || a.n != 2 && !errors.Is(a.err, bus.ErrClosed) &&
								(a.n != 7 || !errors.Is(a.err, bus.ErrNoSubscriber)) { // 7 may still have waited for room
								t.Errorf("%+v", a)
							}
						}
					})
				})
			}
		}
	}
}

// expired is a context that has ended.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// A closed bus says so to who asks, and one that drains, too, unless a handler does.
func TestAskOnAClosedBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		cfg := bus.TopicConfig[bus.Request[int, int]]{Name: "n"}
		topic := newTopic(t, b, cfg)
		others := newTopic(t, b, bus.TopicConfig[bus.Request[int, int]]{Name: "others"})
		var inside error
		begun := make(chan struct{})
		s := subscribe(t, others, "s", func(ctx context.Context, r bus.Request[int, int]) error {
			close(begun)
			time.Sleep(time.Minute)
			_, inside = bus.Ask(ctx, topic, 1)
			return r.Reply(1)
		})
		if _, err := bus.Ask(t.Context(), topic, 1); !errors.Is(err, bus.ErrNoSubscriber) {
			t.Errorf("without subscriptions: %v", err)
		}
		go func() {
			if _, err := bus.Ask(t.Context(), others, 1); err != nil {
				t.Errorf("accepted before: %v", err)
			}
		}()
		<-begun
		go shutdown(t, b)
		synctest.Wait()
		_, err := bus.Ask(t.Context(), topic, 1)
		requireError(t, err, bus.ErrClosed, "ask", "n")
		<-s.Done()
		if !errors.Is(inside, bus.ErrNoSubscriber) {
			t.Errorf("from a handler: %v", inside)
		}
		for _, topic := range []*bus.Topic[bus.Request[int, int]]{topic, others} {
			_, err = bus.Ask(t.Context(), topic, 1)
			requireError(t, err, bus.ErrClosed, "ask", topic.Name())
		}
	})
}
