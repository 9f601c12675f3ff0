package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// everyWay runs a test in process and through a transport.
func everyWay(t *testing.T, f func(t *testing.T, cfg bus.Config)) {
	t.Run("in process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, bus.Config{}) })
	})
	t.Run("transport", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { f(t, bus.Config{Transport: memory.NewBroker().Connect()}) })
	})
}

// publishUse is a middleware that calls f.
func publishUse(f func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error) bus.PublishMiddleware {
	return func(next bus.PublishHandler) bus.PublishHandler {
		return func(ctx context.Context, p *bus.Publication) error { return f(ctx, p, next) }
	}
}

// described is what a subscription got, in words.
func described(t testing.TB, topic *bus.Topic[event]) *list[string] {
	t.Helper()
	var got list[string]
	if _, err := topic.SubscribeMessage(t.Context(), "described", func(_ context.Context, m bus.Message[event]) error {
		got.add(fmt.Sprint(m.Value, " ", m.Headers))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return &got
}

// TestPublishMiddleware: the chain of the bus is around that of the topic, sees each event, and what it adds arrives, for
// every way to publish.
func TestPublishMiddleware(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		var log list[string]
		mark := func(name string) bus.PublishMiddleware {
			return publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				for i := range p.Len() {
					v, ok := bus.PublishedValue[event](p, i)
					if _, wrong := bus.PublishedValue[int](p, i); !ok || wrong {
						t.Error("the value has another type")
					}
					log.add(fmt.Sprint(name, " ", p.Topic(), " ", *v, " ", p.Key(i), " ", p.ID(i), " ", p.Headers(i), " ", p.Attempt()))
					p.SetHeader(i, name, v.Key)
				}
				return next(ctx, p)
			})
		}
		cfg.UsePublish = []bus.PublishMiddleware{mark("outer")}
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey, UsePublish: []bus.PublishMiddleware{mark("inner")}})
		got := described(t, topic)
		publish(t, topic, event{"a", 1})
		log.require(t, "one", "outer n a1 a  map[] 1", "inner n a1 a  map[outer:a] 1")
		var receipt bus.Receipt
		if err := topic.PublishBatch(t.Context(), []event{{"b", 2}, {"c", 3}}, bus.Header("h", "v"), bus.ReceiptTo(&receipt)); err != nil || receipt.Receivers != 1 {
			t.Errorf("%v, %+v", err, receipt)
		}
		if err := topic.PublishMessages(t.Context(), []bus.Outgoing[event]{{Value: event{"d", 4}, ID: "mine"}}); err != nil {
			t.Error(err)
		}
		if last := log.get()[len(log.get())-2]; last != "outer n d4 d mine map[] 1" {
			t.Error(last)
		}
		synctest.Wait()
		got.require(t, "received", "a1 map[inner:a outer:a]", "b2 map[h:v inner:b outer:b]", "c3 map[h:v inner:c outer:c]", "d4 map[inner:d outer:d]")
		shutdown(t, b)
	})
}

// TestPublishMiddlewareRefuses: whole calls and single events are refused with the middleware's error, and nothing else is.
func TestPublishMiddlewareRefuses(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		odd := errors.New("it is odd")
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey, UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				for i := range p.Len() {
					v, _ := bus.PublishedValue[event](p, i)
					switch {
					case v.N < 0:
						return odd
					case v.N%2 == 1:
						p.Refuse(i, odd)
					}
				}
				return next(ctx, p)
			}),
		}})
		got := described(t, topic)
		requireError(t, topic.Publish(t.Context(), event{"a", 1}), odd, "publish n: it is odd")
		requireError(t, topic.Publish(t.Context(), event{"a", -1}), odd, "publish n: it is odd")
		publish(t, topic, event{"a", 2})
		var receipt bus.Receipt
		err := topic.PublishBatch(t.Context(), []event{{"a", 3}, {"a", 4}, {"a", 5}}, bus.ReceiptTo(&receipt))
		var be *bus.BatchError
		if !errors.As(err, &be) || be.Total != 3 || len(be.Failed) != 2 || be.Failed[0].Index != 0 || be.Failed[1].Index != 2 || !errors.Is(be.Failed[1].Err, odd) {
			t.Errorf("%v", err)
		}
		if receipt.Receivers != 0 {
			t.Errorf("%+v", receipt)
		}
		err = topic.PublishBatch(t.Context(), []event{{"a", 6}, {"a", -1}})
		if be = nil; !errors.As(err, &be) || len(be.Failed) != 2 || !errors.Is(err, odd) {
			t.Errorf("%v", err)
		}
		if err = topic.PublishBatch(t.Context(), []event{{"a", 7}}); !errors.As(err, &be) || be.Total != 1 || len(be.Failed) != 1 {
			t.Errorf("%v", err)
		}
		synctest.Wait()
		got.require(t, "received", "a2 map[]", "a4 map[]")
		shutdown(t, b)
	})
}

// TestPublishMiddlewareMistakes: what a middleware does wrong is told, and harms nothing.
func TestPublishMiddlewareMistakes(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		b := newBus(t, cfg)
		var does func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey, UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				return does(ctx, p, next)
			}),
		}})
		got := described(t, topic)
		does = func(context.Context, *bus.Publication, bus.PublishHandler) error { return nil }
		requireError(t, topic.Publish(t.Context(), event{"a", 1}), bus.ErrNotPublished, "publish n")
		requireError(t, topic.PublishBatch(t.Context(), []event{{"a", 1}, {"a", 2}}), bus.ErrNotPublished)
		does = func(_ context.Context, p *bus.Publication, next bus.PublishHandler) error { return next(noContext, p) }
		requireError(t, topic.Publish(t.Context(), event{"a", 1}), bus.ErrNilContext)
		does = func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
			p.Refuse(0, nil)
			return next(ctx, p)
		}
		requireError(t, topic.Publish(t.Context(), event{"a", 1}), bus.ErrInvalidConfig, "Refuse was given no error")
		does = func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
			return errors.Join(next(ctx, p), errors.New("afterwards"))
		}
		if err := topic.Publish(t.Context(), event{"a", 2}); err == nil || err.Error() != "bus: publish n: afterwards" {
			t.Errorf("%v", err)
		}
		does = func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
			panic("of the middleware")
		}
		func() {
			defer func() {
				if r := recover(); r != "of the middleware" {
					t.Errorf("recovered %v", r)
				}
			}()
			_ = topic.Publish(t.Context(), event{"a", 3})
		}()
		does = func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error { return next(ctx, p) }
		publish(t, topic, event{"a", 4})
		synctest.Wait()
		got.require(t, "received", "a2 map[]", "a4 map[]")
		shutdown(t, b)
		requireError(t, topic.Publish(t.Context(), event{"a", 5}), bus.ErrClosed)
	})
	b := newBus(t, bus.Config{})
	_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "n", UsePublish: []bus.PublishMiddleware{nil}})
	requireError(t, err, bus.ErrInvalidConfig, "index 0 of TopicConfig.UsePublish is nil")
	_, err = bus.NewTopic(b, bus.TopicConfig[int]{Name: "n", UsePublish: []bus.PublishMiddleware{func(bus.PublishHandler) bus.PublishHandler { return nil }}})
	requireError(t, err, bus.ErrNilHandler, "index 0 of TopicConfig.UsePublish")
	newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	_, err = bus.NewTopic(b, bus.TopicConfig[int]{Name: "n", UsePublish: []bus.PublishMiddleware{publishUse(nil)}})
	requireError(t, err, bus.ErrTopicConflict, "UsePublish")
	_, err = bus.New(bus.Config{UsePublish: []bus.PublishMiddleware{nil}})
	requireError(t, err, bus.ErrInvalidConfig, "UsePublish[0] is nil")
	shutdown(t, b)
}

// TestPublishMiddlewareOfAsk: requests pass it too, once, and an asker is told what it refused.
func TestPublishMiddlewareOfAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no := errors.New("no")
		passed := 0
		b := newBus(t, bus.Config{UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				if passed++; passed == 3 {
					return no
				}
				p.SetHeader(0, "who", "me")
				return next(ctx, p)
			}),
		}})
		topic := newTopic(t, b, bus.TopicConfig[bus.Request[int, string]]{Name: "q"})
		_, err := bus.Ask(t.Context(), topic, 1)
		requireError(t, err, bus.ErrNoSubscriber, "ask q")
		if _, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[bus.Request[int, string]]) error {
			return m.Value.Reply(fmt.Sprint(m.Value.Query, " ", m.Headers))
		}); err != nil {
			t.Fatal(err)
		}
		if reply, err := bus.Ask(t.Context(), topic, 7); err != nil || reply != "7 map[who:me]" {
			t.Errorf("%q, %v", reply, err)
		}
		_, err = bus.Ask(t.Context(), topic, 7)
		requireError(t, err, no, "q: no")
		shutdown(t, b)
	})
}

// TestPublishMiddlewareSeesAll: what actors and OnDeadLetter publish passes it; a Replay, which publishes nothing, does not.
func TestPublishMiddlewareSeesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen list[string]
		b := newBus(t, bus.Config{UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				seen.add(p.Topic())
				return next(ctx, p)
			}),
		}})
		in := newTopic(t, b, bus.TopicConfig[event]{Name: "in", Key: eventKey})
		out := newTopic(t, b, bus.TopicConfig[event]{Name: "out", Key: eventKey})
		letters := newTopic(t, b, bus.TopicConfig[event]{Name: "letters", Key: eventKey})
		if _, err := in.Spawn(t.Context(), "actors", func(context.Context, string) (bus.Actor[event], error) {
			return bus.Actor[event]{Handle: func(ctx context.Context, e event) error { return out.Publish(ctx, e) }}, nil
		}); err != nil {
			t.Fatal(err)
		}
		bad := subscribe(t, out, "bad", func(context.Context, event) error { return errors.New("no") },
			bus.OnDeadLetter(func(ctx context.Context, l bus.Letter) {
				m, err := bus.MessageOf[event](l.Delivery)
				if err == nil {
					err = letters.Publish(ctx, m.Value)
				}
				if err != nil {
					t.Error(err)
				}
			}))
		publish(t, in, event{"a", 1})
		synctest.Wait()
		seen.require(t, "seen", "in", "out", "letters")
		if _, err := bad.Replay(t.Context(), nil); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		seen.require(t, "seen after the replay", "in", "out", "letters", "letters")
		shutdown(t, b)
	})
}
