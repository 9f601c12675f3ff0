package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// TestPublishMiddlewareRetries: RetryAfter has Publish wait within its context, and run the chain again with what is not
// published yet.
func TestPublishMiddlewareRetries(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		busy := errors.New("busy")
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey, UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				if p.Attempt() < 3 {
					return bus.RetryAfter(time.Minute, busy)
				}
				if err := next(ctx, p); err != nil {
					return err
				}
				if p.Attempt() == 3 && p.Len() > 1 { // all is published, and it wants to have it so once more
					return bus.RetryAfter(time.Minute, busy)
				}
				return next(ctx, p) // it is published already
			}),
		}})
		got := described(t, topic)
		began := time.Now()
		publish(t, topic, event{"a", 1})
		if took := time.Since(began); took != 2*time.Minute {
			t.Errorf("it took %v", took)
		}
		began = time.Now()
		if err := topic.PublishBatch(t.Context(), []event{{"a", 2}, {"a", 3}}); err != nil || time.Since(began) != 3*time.Minute {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		err := topic.Publish(ctx, event{"a", 4})
		requireError(t, err, context.DeadlineExceeded, "publish n", "busy")
		requireError(t, err, busy)
		synctest.Wait()
		got.require(t, "received", "a1 map[]", "a2 map[]", "a3 map[]")
		shutdown(t, b)
	})
}

// TestPublishMiddlewareForgets: what made an earlier run of the chain fail is not told when it is run again.
func TestPublishMiddlewareForgets(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		first, second, third := errors.New("first"), errors.New("second"), errors.New("third")
		last := third
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey, UsePublish: []bus.PublishMiddleware{
			publishUse(func(ctx context.Context, p *bus.Publication, next bus.PublishHandler) error {
				switch p.Attempt() {
				case 1: // each event fails
					if err := next(noContext, p); !errors.Is(err, bus.ErrNilContext) {
						t.Error(err)
					}
					return bus.RetryAfter(time.Minute, first)
				case 2:
					return bus.RetryAfter(time.Minute, second)
				}
				return last
			}),
		}})
		forgot := func(err error, want error) {
			t.Helper()
			requireError(t, err, want, "publish n")
			for _, old := range []error{bus.ErrNilContext, first, second, third} {
				if old != want && errors.Is(err, old) {
					t.Errorf("%v tells of %v", err, old)
				}
			}
		}
		forgot(topic.Publish(t.Context(), event{"a", 1}), third)
		batch := func(ctx context.Context, want ...error) {
			t.Helper()
			var be *bus.BatchError
			err := topic.PublishBatch(ctx, []event{{"a", 1}, {"a", 2}})
			if !errors.As(err, &be) || len(be.Failed) != 2 {
				t.Fatal(err)
			}
			for _, failed := range be.Failed {
				for _, want := range want {
					requireError(t, failed.Err, want, "publish n")
				}
				if errors.Is(failed.Err, bus.ErrNilContext) != (len(want) == 2 && want[1] == bus.ErrNilContext) {
					t.Error(failed.Err)
				}
			}
		}
		batch(t.Context(), third)
		last = nil // it says that it published, and has not
		forgot(topic.Publish(t.Context(), event{"a", 1}), bus.ErrNotPublished)
		batch(t.Context(), bus.ErrNotPublished)

		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second) // during the second wait
		defer cancel()
		err := topic.Publish(ctx, event{"a", 1})
		requireError(t, err, context.DeadlineExceeded)
		forgot(err, second)
		ctx, cancel = context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		batch(ctx, context.DeadlineExceeded, second)
		ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second) // during the first
		defer cancel()
		batch(ctx, context.DeadlineExceeded, bus.ErrNilContext)
		requireError(t, topic.Publish(noContext, event{"a", 1}), bus.ErrNilContext)
		shutdown(t, b)
	})
}

// TestPublishMiddlewareChangesTheError: of one event the caller gets what the chain returned, whatever next did.
func TestPublishMiddlewareChangesTheError(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		mine := errors.New("mine")
		b := newBus(t, cfg)
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", UsePublish: []bus.PublishMiddleware{
			publishUse(func(_ context.Context, p *bus.Publication, next bus.PublishHandler) error {
				if err := next(noContext, p); err == nil {
					t.Error("it was published")
				}
				return mine
			}),
		}})
		err := topic.Publish(t.Context(), event{"a", 1})
		if requireError(t, err, mine, "publish n: mine"); errors.Is(err, bus.ErrNilContext) {
			t.Error(err)
		}
		shutdown(t, b)
	})
}

// TestPublishMiddlewareWaitsForNothing: the end of the bus, or of the topic, ends the wait for another run.
func TestPublishMiddlewareWaitsForNothing(t *testing.T) {
	everyWay(t, func(t *testing.T, cfg bus.Config) {
		b := newBus(t, cfg)
		var topics []*bus.Topic[event]
		busy := errors.New("busy")
		for _, name := range []string{"topic", "bus"} {
			topics = append(topics, newTopic(t, b, bus.TopicConfig[event]{Name: name, UsePublish: []bus.PublishMiddleware{
				publishUse(func(context.Context, *bus.Publication, bus.PublishHandler) error {
					return bus.RetryAfter(time.Hour, busy)
				}),
			}}))
		}
		began := time.Now()
		var results [2]chan error
		for i, topic := range topics {
			results[i] = make(chan error, 2)
			go func() { results[i] <- topic.Publish(context.Background(), event{"a", 1}) }()
			go func() { results[i] <- topic.PublishBatch(context.Background(), []event{{"a", 1}, {"a", 2}}) }()
		}
		synctest.Wait()
		if err := topics[0].Close(t.Context()); err != nil {
			t.Error(err)
		}
		for range 2 {
			err := <-results[0]
			requireError(t, err, bus.ErrTopicClosed, "publish topic")
			requireError(t, err, busy)
		}
		shutdown(t, b)
		for range 2 {
			err := <-results[1]
			requireError(t, err, bus.ErrClosed, "publish bus")
			requireError(t, err, busy)
		}
		if took := time.Since(began); took >= time.Hour {
			t.Errorf("it took %v", took)
		}
	})
}
