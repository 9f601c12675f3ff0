// Package router decides where an event lives: topic and key → partition → channel → slot → shard.
//
// It is pure: no I/O, no goroutines, no clock. Every function gives the same answer on every
// machine and in every version, because publishers and subscribers of different builds and
// languages must agree without talking to each other. What is frozen, and why it may never change:
//
//   - [CRC16] and [Slot] are Redis Cluster's, so that we and the server name the same owner.
//   - [Tag] names a slot; it is part of every partitioned channel's name.
//   - [Partition] is the key's partition; changing it would tear the order of a key's events.
//   - [Placement] spells channels and keys.
//
// A [Snapshot] is one view of the cluster: which node owns which slot. [Diff] says what changed
// between two views. Fetching views, and acting on what changed, is the transport's work.
//
// Files: crc16, slot, tag, partition (the frozen functions); name, placement, channel (spelling);
// snapshot, diff, role, lineage (the cluster).
package router
