package transport

import "time"

// Position is where a consumer stands in a partition. Its lag is Unsettled + Deferred.
type Position struct {
	Consumer  string
	Partition int
	// First and Next are those of the partition.
	First, Next uint64
	// Low is the first offset that is kept and not settled; Next if there is none.
	Low uint64
	// Unsettled is how many events from Low on are not settled: exact, also after trimming.
	Unsettled uint64
	// Deferred and Letters are how many events wait for a later attempt, and how many are dead
	// letters.
	Deferred, Letters uint64
	// Oldest is when the log took the event at Low; zero if there is none.
	Oldest time.Time
	// Owner is the member that holds the partition, or a range of it; empty: nobody does. Standby
	// are the members that wait for the holder of an Exclusive consumer to end.
	Owner   string
	Standby []string
	// Fence is the last one.
	Fence uint64
}

// Lag is how many events wait for the consumer in the partition.
func (p Position) Lag() uint64 { return p.Unsettled + p.Deferred }
