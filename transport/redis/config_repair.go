package redis

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
)

// Defaults of [Repair].
const (
	DefaultRepairTimeout     = 5 * time.Second
	DefaultRepairEvents      = 8192
	DefaultRepairBytes       = 4 << 20
	DefaultRepairAge         = 30 * time.Second
	DefaultRepairTotalEvents = 1 << 18
	DefaultRepairTotalBytes  = 64 << 20
	DefaultRepairHeldEvents  = 16384
	DefaultRepairHeldBytes   = 16 << 20
	DefaultRepairHoldBytes   = 64 << 20
)

// Repair configures how events that were lost between Redis and a subscriber are sent again: the
// publisher remembers its last events, and sends those that a subscriber asks for once more, to
// that subscriber alone. The zero value is right for most.
//
// The publisher must still remember what it is asked for: its window must hold what is published on
// a channel while a fault lasts and subscribers notice it. In time the window fills its bounds, so
// they are its cost.
type Repair struct {
	// Off: nothing is remembered and no publisher is asked. Losses are reported all the same.
	Off bool

	// Timeout is how long a subscriber waits for what it has asked for, and again after each sign
	// that the publisher works on it. It counts from when a shard can be asked through. Meanwhile
	// later events of that publisher on that channel wait. Then they are delivered, and what is
	// missing is a Gap. It is two fifths of that while nobody listens where the publisher is asked:
	// it has ended, does not repair, or is connecting anew. Zero: 5 s. At least 10 ms.
	Timeout time.Duration

	// Events and Bytes bound what a publisher remembers of one channel, and Age how long. Zero:
	// 8192 events, 4 MiB, 30 s.
	Events, Bytes int
	Age           time.Duration

	// TotalEvents and TotalBytes bound what it remembers of all channels. Zero: 262144 events, 64
	// MiB.
	TotalEvents, TotalBytes int

	// HeldEvents and HeldBytes bound what waits at a subscriber for one publisher's missing events
	// on one channel, and HoldBytes for all. Beyond it the first missing events are given up. Zero:
	// 16384 events, 16 MiB, 64 MiB.
	HeldEvents, HeldBytes, HoldBytes int
}

// limits are those of the publisher's memory.
func (r *Repair) limits() sendwindow.Limits {
	return sendwindow.Limits{Events: r.Events, Bytes: r.Bytes, TotalEvents: r.TotalEvents, TotalBytes: r.TotalBytes, Age: r.Age}
}

// resolved returns the options with their defaults, or what is wrong with them.
func (r Repair) resolved() (Repair, error) {
	const most = 1 << 40
	for _, n := range []struct {
		name          string
		value         *int
		zero, highest int
	}{
		{"Events", &r.Events, DefaultRepairEvents, 1 << 24},
		{"Bytes", &r.Bytes, DefaultRepairBytes, most},
		{"TotalEvents", &r.TotalEvents, DefaultRepairTotalEvents, 1 << 30},
		{"TotalBytes", &r.TotalBytes, DefaultRepairTotalBytes, most},
		{"HeldEvents", &r.HeldEvents, DefaultRepairHeldEvents, 1 << 24},
		{"HeldBytes", &r.HeldBytes, DefaultRepairHeldBytes, most},
		{"HoldBytes", &r.HoldBytes, DefaultRepairHoldBytes, most},
	} {
		if *n.value == 0 {
			*n.value = n.zero
		}
		if *n.value < 0 || *n.value > n.highest {
			return r, fmt.Errorf("redis: Config.Repair.%s is %d, want 1 to %d", n.name, *n.value, n.highest)
		}
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
	}{
		{"Timeout", &r.Timeout, DefaultRepairTimeout},
		{"Age", &r.Age, DefaultRepairAge},
	} {
		if *d.value == 0 {
			*d.value = d.zero
		}
		if *d.value < 10*time.Millisecond {
			return r, fmt.Errorf("redis: Config.Repair.%s is %v, want 10 ms or more", d.name, *d.value)
		}
	}
	return r, nil
}
