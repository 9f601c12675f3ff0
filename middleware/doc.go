// Package middleware is what subscriptions commonly put around their handlers.
//
// Each constructor takes a configuration, or none, and returns a [bus.Middleware] for [bus.Use] or
// bus.Config.Use. The zero configuration works, and values out of range count as the default.
// Nothing here panics or starts a goroutine that stays. A middleware may be shared by any number of
// subscriptions; it keeps separate state for each.
//
// No middleware sleeps. A delay is a verdict ([bus.RetryAfter], [bus.Snooze]) that the engine
// carries out while other keys go on. Every attempt then runs the whole chain again.
//
// # Order
//
// The first middleware of a list is the outermost. This order gives each the view that it needs:
//
//	Logging   sees what becomes of every event, and each cause once
//	Dedup     sees the verdicts of Retry, so it knows a retry from a repetition
//	Retry     sees the plain errors, timeouts included
//	Timeout   bounds each attempt
//	Codec     decodes; middleware outside it sees bytes
//
// Logging inside Retry sees plain errors and not what becomes of them. Dedup inside Retry works
// too, but does not notice a repetition that comes between two attempts. A Dedup whose key is read
// from the event's value belongs inside Codec. [Default] is this order without those that need a
// decision of yours.
package middleware
