// Package consumer reads durable topics: it takes leases from a log, fetches events while their
// handlers have room for them, hands them on, and settles what became of them.
//
// A [Reader] is what a bus has of it. It has a [Consumer] for each name under which the bus consumes a
// topic, and that a lease for each partition, or range of one, which the log has assigned. Each [Event]
// belongs to the lease under which it was fetched. All leases of a Reader share a few goroutines, which
// live while there is something to fetch or to commit.
//
// Locks: Consumer.mu before lease.mu before Reader.mu. A [Target] is called with none of them held, and
// may call the methods of an Event with locks of its own held.
package consumer
