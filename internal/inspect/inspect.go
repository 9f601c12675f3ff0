// Package inspect is the door by which bustest looks into a bus. What is behind it is of use to
// tests of a bus's promises only, and so no part of the bus's API.
package inspect

import "time"

// Watcher is told of what happens on a bus.
type Watcher interface {
	// Subscribed is called with each new *bus.Subscription, when it is live.
	Subscribed(sub any)
	// Published is called with each event that a bus without a transport takes, before a handler
	// sees it, in the order in which handlers see them. The *bus.Delivery is a copy of its own. The
	// topic's lock is held: Published must not call anything of the topic, nor user code, which
	// Delivery.Key is.
	Published(delivery any)
	// DeadLettered is called with each bus.Letter of a *bus.Subscription of a durable topic, before the
	// log has it, on the lane's goroutine.
	DeadLettered(sub, letter any)
	// Misused is called with each report of Config.Debug, from any goroutine.
	Misused(topic, subscription, what string)
}

// Bus is what a bus shows. All methods are safe for concurrent use, save Watch.
type Bus interface {
	// Watch has w told of every subscription from now on. It must be called before the bus is given
	// to anybody else.
	Watch(w Watcher)
	// Watcher is whom Watch was given, or nil.
	Watcher() Watcher
	// Quiet tells whether nothing is queued, running or deferred on the whole bus, and OnGap of no
	// subscription is yet to be called.
	Idle() bool
	// Changed returns a channel that is closed when the bus may have become quiet, or a lane idle,
	// since the call. release must be called once, when nobody waits for the channel any more.
	Changed() (changed <-chan struct{}, release func())
	// Goroutines names every goroutine of the bus that runs: lanes, the transport with its
	// supervisor, and the cleanup after subscriptions.
	Goroutines() []string
}

// Of looks into a *bus.Bus, or the bus of a *bus.Subscription; nil for anything else. Package bus
// sets it as it is initialised, since it can't be imported from here.
var Of func(v any) Bus

// BatchOf is what the deliveries of a lane's batches have in common, for comparison, of a
// *bus.Delivery in a batch that is being handled; nil for any other. Middleware uses it for what a
// whole batch shares. Package bus sets it, too.
var BatchOf func(delivery any) any

// Shared looks at what the subscriptions of a bus without a transport share of a *bus.Delivery: the
// number of its event on the topic, and a hash of its value with all that this points to. ok is
// false if the event came off a transport, or is too large to be looked at. Package bus sets it,
// too.
var Shared func(delivery any) (seq, sum uint64, ok bool)

// AcknowledgedLate has the bus log that the handler of a *bus.Delivery returned nil so much after
// its time was over. Package bus sets it, too.
var AcknowledgedLate func(delivery any, timeout, late time.Duration)

// Delivery is what tests want of a *bus.Delivery.
type Delivery struct {
	Event        any // a pointer to the event, for one that was delivered in process; or
	Envelope     any // a *transport.Envelope, for one that came off a transport and is still encoded
	Publish      any // a []bus.PublishOption: ID and headers of Event
	Subscription string
	Attempt      int
}

// NewDelivery builds a *bus.Delivery. topic is a pointer to the bus.TopicConfig, which is not
// validated. Package bus sets it, too.
var NewDelivery func(topic any, spec Delivery) any
