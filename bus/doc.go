// Package bus is a typed event bus: topics of one event type each, and
// subscriptions that are supervised actors with bounded mailboxes.
//
// A [TopicConfig] describes a topic; [NewTopic] binds it to a [Bus];
// [Topic.Publish] hands an event to every subscription, and
// [Topic.Subscribe] makes one. In one process events are handed over typed,
// without encoding or copying. With a [Config.Transport] the same topics and
// handlers work across processes.
//
// What happens to an event is decided by what its handler returns (see
// [Handler]), by middleware around it ([Middleware]), and by the policy of its
// mailbox ([Mailbox]): waiting, dropping, failing, or keeping the latest of each key
// ([KeepLatest]). [Topic.SubscribeBatch] hands over many events at once, and a
// [Group] of subscriptions shares them. Every event that a subscription accepted is in its ledger
// at any time ([Stats]).
package bus
