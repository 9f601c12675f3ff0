// Package mailbox holds the queues between publishers and lanes.
//
// [Shared] with [Reader] is the fast one: the writer side is serialised by its
// owner (a topic's lock), and each reader is one lane that handles items where
// they lie, at its own pace. Many readers may share one: an item is written once
// for all of them. From a queue that evicts a writer may also take, which an
// overflow policy that drops old items needs; it has a lock of its own, and
// [Latest] in it where an item replaces the one of its key. A [Queue] is the
// mailbox of one lane, and hides which of the two it is.
package mailbox
