package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
)

// noContext is what a caller gives who forgot it.
var noContext context.Context

// What a function can't do without is asked for by an error that names it, and not by
// a panic.
func TestNothingGiven(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		cfg := bus.TopicConfig[event]{Name: "n", Key: eventKey}
		topic := newTopic(t, b, cfg)
		asked := newTopic(t, b, questions)
		s := subscribe(t, topic, "s", ignore[event])
		batch := func(context.Context, []bus.Message[event]) error { return nil }
		build := func(context.Context, string) (bus.Actor[event], error) { return bus.Actor[event]{}, nil }
		second := func(_ any, err error) error { return err }
		for _, tc := range []struct {
			name  string
			call  func() error
			want  error
			words string
		}{
			{"NewTopic without a bus", func() error { return second(bus.NewTopic(nil, cfg)) }, bus.ErrInvalidConfig, "the bus is nil"},
			{"NewTopic on a bus that New did not make", func() error { return second(bus.NewTopic(new(bus.Bus), cfg)) }, bus.ErrInvalidConfig, "not made by New"},
			{"Ask without a topic", func() error { return second(bus.Ask[string, int](t.Context(), nil, "?")) }, bus.ErrInvalidConfig, "the topic is nil"},
			{"Answer without a function", func() error { return second(asked.Subscribe(t.Context(), "a", bus.Answer[string, int](nil))) }, bus.ErrNilHandler, "questions"},
			{"SubscribeBatch without a handler", func() error { return second(topic.SubscribeBatch(t.Context(), "a", nil)) }, bus.ErrNilHandler, "subscribe to n"},
			{"Spawn without a builder", func() error { return second(topic.Spawn(t.Context(), "a", nil)) }, bus.ErrNilHandler, "subscribe to n"},

			{"Subscribe without a context", func() error { return second(topic.Subscribe(noContext, "a", ignore[event])) }, bus.ErrNilContext, "subscribe to n"},
			{"SubscribeMessage", func() error { return second(topic.SubscribeMessage(noContext, "a", ignore[bus.Message[event]])) }, bus.ErrNilContext, "subscribe to n"},
			{"SubscribeBatch", func() error { return second(topic.SubscribeBatch(noContext, "a", batch)) }, bus.ErrNilContext, "subscribe to n"},
			{"Spawn", func() error { return second(topic.Spawn(noContext, "a", build)) }, bus.ErrNilContext, "subscribe to n"},
			{"Ask", func() error { return second(bus.Ask(noContext, asked, "?")) }, bus.ErrNilContext, "ask questions"},
			{"Drain", func() error { return s.Drain(noContext) }, bus.ErrNilContext, "drain n: subscription s"},
			{"Shutdown", func() error { return b.Shutdown(noContext) }, bus.ErrNilContext, "shutdown"},
		} {
			func() {
				defer func() {
					if r := recover(); r != nil {
						t.Errorf("%s panics: %v", tc.name, r)
					}
				}()
				requireError(t, tc.call(), tc.want, tc.words)
			}()
		}
		if broker {
			requireError(t, topic.Publish(noContext, event{}), bus.ErrNilContext, "publish n")
			requireError(t, topic.PublishBatch(noContext, []event{{}, {}}), bus.ErrNilContext, "publish n", "2 of 2")
		}
		publish(t, topic, event{"a", 1}) // the bus is open and the subscription lives
		shutdown(t, b)
		if st := stats(t, s); st.Handled != 1 {
			t.Errorf("%v", st)
		}
	})
}

// In one process Publish looks at its context only when it waits.
func TestPublishWithoutContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, int) error { return errBad }, bus.Mailbox(1, bus.Block))
		if err := topic.Publish(noContext, 1); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		s.Pause()
		publish(t, topic, 2)
		requireError(t, topic.Publish(noContext, 3), bus.ErrNilContext, "publish n", "entered no mailbox")
		requireError(t, topic.PublishBatch(noContext, []int{3}), bus.ErrNilContext, "publish n")
		if n, err := s.Replay(noContext, nil); n != 0 || !errors.Is(err, bus.ErrNilContext) {
			t.Errorf("Replay: %d, %v", n, err)
		}
		shutdown(t, b)
		requireError(t, topic.Publish(noContext, 4), bus.ErrClosed, "publish n")
		if st := stats(t, s); st.Accepted != 2 {
			t.Errorf("%v", st)
		}
	})
}

// Wherever a handler's context goes, what would wait for that handler is refused: in
// middleware, batches, actors and callbacks too.
func TestEndFromWithinWouldDeadlock(t *testing.T) {
	for _, where := range []string{"handler", "middleware", "batch", "actor", "builder", "dead letter"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				other := newTopic(t, b, bus.TopicConfig[int]{Name: "other"})
				got := &list[int]{}
				subscribe(t, other, "s", func(_ context.Context, n int) error { got.add(n); return nil })
				var s *bus.Subscription
				inside := func(ctx context.Context) {
					requireError(t, s.Drain(ctx), bus.ErrWouldDeadlock, "drain", "its own subscription")
					requireError(t, b.Shutdown(ctx), bus.ErrWouldDeadlock, "shutdown", "n", "s", "Close")
					// What is allowed: it lives after that.
					if _, err := topic.Subscribe(ctx, "late", ignore[event]); err != nil {
						t.Error(err)
					}
					if err := other.Publish(ctx, 1); err != nil {
						t.Error(err)
					}
				}
				handler := func(ctx context.Context, _ event) error {
					inside(ctx)
					return nil
				}
				var err error
				switch where {
				case "handler":
					s, err = topic.Subscribe(t.Context(), "s", handler)
				case "middleware":
					s, err = topic.Subscribe(t.Context(), "s", ignore[event], bus.Use(func(next bus.Handler) bus.Handler {
						return func(ctx context.Context, d *bus.Delivery) error {
							inside(ctx)
							return next(ctx, d)
						}
					}))
				case "batch":
					s, err = topic.SubscribeBatch(t.Context(), "s", func(ctx context.Context, _ []bus.Message[event]) error {
						inside(ctx)
						return nil
					})
				case "actor":
					s, err = topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[event], error) {
						return bus.Actor[event]{Handle: handler}, nil
					})
				case "builder":
					s, err = topic.Spawn(t.Context(), "s", func(ctx context.Context, _ string) (bus.Actor[event], error) {
						inside(ctx)
						return bus.Actor[event]{Handle: ignore[event]}, nil
					})
				case "dead letter":
					s, err = topic.Subscribe(t.Context(), "s", func(context.Context, event) error { return errBad },
						bus.OnDeadLetter(func(ctx context.Context, _ bus.Letter) { inside(ctx) }))
				}
				if err != nil {
					t.Fatal(err)
				}
				publish(t, topic, event{"a", 1})
				synctest.Wait()
				shutdown(t, b)
				got.require(t, "published within", 1)
			})
		})
	}
}

// A full mailbox is no trap for the dead letters of its own subscription.
func TestDeadLetterIntoOwnFullMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		var got list[error]
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n < 0 {
				return nil
			}
			return errBad
		}, bus.Mailbox(1, bus.Block), bus.OnDeadLetter(func(ctx context.Context, l bus.Letter) {
			for range 2 {
				got.add(topic.Publish(ctx, -1))
			}
		}))
		publish(t, topic, 1)
		shutdown(t, b)
		errs := got.get()
		if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], bus.ErrWouldDeadlock) {
			t.Errorf("%v", errs)
		}
		if st := stats(t, s); st.Accepted != 2 || st.Handled != 1 {
			t.Errorf("%v", st)
		}
	})
}

// What has ended answers as it did, for ever, and does nothing.
func TestAfterTheEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, broker bool) {
		b := newBus(t, config(broker))
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		asked := newTopic(t, b, questions)
		s := subscribe(t, topic, "s", func(context.Context, event) error { return errBad })
		publish(t, topic, event{"a", 1})
		synctest.Wait()
		for range 2 {
			shutdown(t, b)
			if err := b.Close(); err != nil {
				t.Error(err)
			}
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		}
		s.Pause()
		s.Resume()
		if n, err := s.Replay(t.Context(), nil); n != 0 || !errors.Is(err, bus.ErrClosed) {
			t.Errorf("Replay: %d, %v", n, err)
		}
		if _, err := bus.Ask(t.Context(), asked, "?"); err == nil {
			t.Error("an answer")
		}
		batch := func(context.Context, []bus.Message[event]) error { return nil }
		_, err := topic.SubscribeBatch(t.Context(), "a", batch)
		requireError(t, err, bus.ErrClosed, "subscribe to n")
		_, err = topic.Spawn(t.Context(), "a", func(context.Context, string) (bus.Actor[event], error) { return bus.Actor[event]{}, nil })
		requireError(t, err, bus.ErrClosed, "subscribe to n")
		<-s.Done()
		if st := stats(t, s); st.DeadLettered != 1 || len(s.DeadLetters()) != 1 || len(s.Gaps()) != 0 || s.Err() != nil {
			t.Errorf("%v, %d letters, %v", st, len(s.DeadLetters()), s.Err())
		}
		if tree := b.Tree(); tree.Name == "" {
			t.Errorf("%+v", tree)
		}
	})
}

// A context that has ended: who needs no waiting is served, who does is told its cause.
func TestEndedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(enough)
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		asked := newTopic(t, b, questions)
		s, err := topic.Subscribe(ctx, "s", func(ctx context.Context, n int) error {
			if n > 1 {
				<-ctx.Done()
			}
			return ctx.Err()
		}, bus.Mailbox(1, bus.Block))
		if err != nil {
			t.Fatal(err)
		}
		if err := topic.Publish(ctx, 1); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if st := stats(t, s); st.Handled != 1 {
			t.Errorf("its handler's context has ended too: %v", st)
		}
		s.Pause()
		publish(t, topic, 2)
		requireError(t, topic.Publish(ctx, 3), enough, "publish n", "stayed full")
		a := subscribe(t, asked, "s", bus.Answer(length))
		a.Pause()
		_, err = bus.Ask(ctx, asked, "?")
		requireError(t, err, enough, "ask questions")
		err = s.Drain(ctx)
		requireError(t, err, enough, "drain n")
		requireLeft(t, err, 1, 1)
		if err := b.Shutdown(ctx); err != nil { // what was asked is answered at once, in time or not
			requireError(t, err, enough, "shutdown", "questions/s")
		}
		synctest.Wait()
		stats(t, a)
	})
}
