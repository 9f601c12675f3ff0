// Package bus is a typed event bus: topics of one event type each, and subscriptions that are
// supervised actors with bounded mailboxes.
//
// A [TopicConfig] describes a topic; [NewTopic] binds it to a [Bus]. [Topic.Publish] gives an event
// to every subscription, and [Topic.Subscribe] makes one. In one process events are delivered
// typed, without encoding or copying. With a [Config].Transport the same topics and handlers work
// across processes.
//
// The handler's result decides what happens to an event (see [Handler]). So do the middleware
// around it ([Middleware]) and the policy of its mailbox ([Mailbox]): wait, drop, fail, or keep the
// latest of each key ([KeepLatest]). [Topic.SubscribeBatch] delivers many events at once, and a
// [Group] of subscriptions shares them. Every event that a subscription accepted is in its ledger
// at any time ([Stats]).
package bus
