// Package middleware is what subscriptions commonly put around their handlers.
//
// Each constructor takes a configuration, or none, and returns a
// [bus.Middleware] for [bus.Use] or bus.Config.Use. The zero configuration
// works, values out of their range count as the default, and nothing here
// panics or starts a goroutine that lives on. A middleware may be shared by any
// number of subscriptions: what it remembers, it remembers for each of them
// alone.
//
// No middleware sleeps. What should happen later is a verdict ([bus.RetryAfter],
// [bus.Snooze]) that the engine carries out while other keys go on; every
// attempt then runs the whole chain again.
//
// # Order
//
// The first middleware of a list is the outermost. This order gives each the
// view it needs:
//
//	Logging   sees what becomes of every event, and each cause once
//	Dedup     sees the verdicts of Retry, so it knows a retry from a repetition
//	Retry     sees the plain errors, timeouts included
//	Timeout   bounds each attempt
//	Codec     decodes; what stands outside sees bytes
//
// Logging inside Retry sees plain errors and not what comes of them. Dedup
// inside Retry works too, but takes no notice of a repetition that comes between
// two attempts. A Dedup whose key is read from the event's value stands inside
// Codec. [Default] is this order without those that need a decision of yours.
package middleware
