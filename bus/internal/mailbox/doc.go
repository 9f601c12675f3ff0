// Package mailbox holds the queues between publishers and lanes.
//
// [Shared] with [Reader] is the fast one: the writer side is serialised by its
// owner (a topic's lock), and each reader is one lane that handles items where
// they lie, at its own pace. Many readers may share a log: an item is written
// once for all of them. [Latest] is one a writer may also take from, which an
// overflow policy that drops old items needs; its owner's lock covers both sides.
package mailbox
