package subscriber

import (
	"context"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

const (
	repairTick   = 10 * time.Millisecond // between looks at channels where something waits
	trackerSweep = 30 * time.Second      // between looks at all, to forget publishers that are silent
)

// repairTicker lets time pass for the trackers.
type repairTicker struct {
	subscriptions *subscriptions
	nacks         *nackClient

	mu sync.Mutex
	// mu guards watched: channels where something waits.
	watched map[*channel]struct{}

	wake chan struct{} // capacity 1: watched is not empty any more
}

func newRepairTicker(r *subscriptions, repairs *nackClient) *repairTicker {
	return &repairTicker{subscriptions: r, nacks: repairs, watched: make(map[*channel]struct{}), wake: make(chan struct{}, 1)}
}

// watch has a channel looked at until nothing waits there. The caller may hold channel.mu.
func (c *repairTicker) watch(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.watched) == 0 {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	c.watched[ch] = struct{}{}
}

func (c *repairTicker) serve(ctx context.Context) error {
	sweep := time.NewTicker(trackerSweep)
	defer sweep.Stop()
	tick := time.NewTimer(conn.Promptly)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			tick.Reset(repairTick)
		case now := <-tick.C:
			if c.tick(now) {
				tick.Reset(repairTick)
			}
		case now := <-sweep.C:
			for _, ch := range c.subscriptions.all() {
				ch.expire(now)
			}
		}
	}
}

// tick asks for what is missing in the watched channels and gives up what is due, and reports whether there are any left.
func (c *repairTicker) tick(now time.Time) bool {
	c.mu.Lock()
	watched := c.watched
	c.watched = make(map[*channel]struct{}, len(watched))
	c.mu.Unlock()
	c.nacks.sendNacks(now, watched)
	for ch := range watched {
		if ch.expire(now) {
			c.mu.Lock()
			c.watched[ch] = struct{}{}
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watched) > 0
}
