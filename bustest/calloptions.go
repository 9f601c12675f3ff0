package bustest

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
)

// CallOption configures one [Call], [CallBatch] or [CallActor].
type CallOption interface{ applyCall(*call) }

type callOption func(*call)

func (f callOption) applyCall(c *call) { f(c) }

type call struct {
	bus            []Option
	topic          any // a bus.TopicConfig[T]
	use            []func(*zap.Logger) []bus.Middleware
	subscribe      []bus.SubscribeOption
	subscribeBatch []bus.BatchOption
	spawn          []bus.ActorOption
	publish        []bus.PublishOption
	waitTimeout    time.Duration
}

// Use puts middleware around the handler, the first outermost.
func Use(middleware ...bus.Middleware) CallOption {
	return UseWith(func(*zap.Logger) []bus.Middleware { return middleware })
}

// UseWith puts middleware around the handler that logs to the given logger. The Outcome has the
// lines.
func UseWith(f func(*zap.Logger) []bus.Middleware) CallOption {
	return callOption(func(c *call) { c.use = append(c.use, f) })
}

// OnTopic gives the event its topic, of the event's type, with key and codec. Default: a topic
// named "call", without a key.
func OnTopic[T any](topic bus.TopicConfig[T]) CallOption {
	return callOption(func(c *call) { c.topic = topic })
}

// Subscribed subscribes the handler of [Call] with options: lanes, budgets, middleware.
func Subscribed(opts ...bus.SubscribeOption) CallOption {
	return callOption(func(c *call) { c.subscribe = append(c.subscribe, opts...) })
}

// SubscribedBatch subscribes the handler of [CallBatch] with options: the size of a batch, lanes.
func SubscribedBatch(opts ...bus.BatchOption) CallOption {
	return callOption(func(c *call) { c.subscribeBatch = append(c.subscribeBatch, opts...) })
}

// Spawned spawns the actors of [CallActor] with options: their number, lanes.
func Spawned(opts ...bus.ActorOption) CallOption {
	return callOption(func(c *call) { c.spawn = append(c.spawn, opts...) })
}

// Within bounds the call, retries included; after that the test fails. Default as for
// [WaitTimeout].
func Within(d time.Duration) CallOption {
	return callOption(func(c *call) { c.waitTimeout = d })
}
