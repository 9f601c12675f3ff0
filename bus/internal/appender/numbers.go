package appender

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// numbers are those of a publisher on one partition, see [transport.PublisherState].
type numbers struct {
	epoch uint32
	next  uint64
	used  *time.Time // when the last batch of this epoch was handed over that was taken; nil: none was
}

// refresh raises the epoch if the log may have forgotten the publisher.
func (n *numbers) refresh(now *time.Time) {
	if n.used != nil && n.used != now && elapsed(*n.used, *now) >= transport.PublisherIdle/2 {
		n.raise(1)
	}
}

// took notes that a batch was taken.
func (n *numbers) took(events int, at *time.Time) {
	n.next += uint64(events) //nolint:gosec // a length
	n.used = at
}

// raise begins an epoch.
func (n *numbers) raise(by uint32) { *n = numbers{epoch: n.epoch + by, next: 1} }

// elapsed is how long it is from begin to end, by the clock that says more: the monotonic one stands
// still while the machine sleeps, and the log's does not.
func elapsed(begin, end time.Time) time.Duration {
	return max(end.Sub(begin), end.Round(0).Sub(begin.Round(0)))
}
