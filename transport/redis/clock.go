package redis

import (
	"context"
	"sync"
	"time"
)

const (
	clockTick  = 10 * time.Millisecond // between looks at channels where something waits
	clockSweep = 30 * time.Second      // between looks at all, to forget publishers that are silent
)

// clock lets time pass for the trackers.
type clock struct {
	registry *registry

	mu sync.Mutex
	// mu guards watched: channels where something waits.
	watched map[*channel]struct{}

	wake chan struct{} // capacity 1: watched is not empty any more
}

func newClock(r *registry) *clock {
	return &clock{registry: r, watched: make(map[*channel]struct{}), wake: make(chan struct{}, 1)}
}

// watch has a channel looked at until nothing waits there. The caller may hold channel.mu.
func (c *clock) watch(ch *channel) {
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

func (c *clock) serve(ctx context.Context) error {
	sweep := time.NewTicker(clockSweep)
	defer sweep.Stop()
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
			tick.Reset(clockTick)
		case now := <-tick.C:
			if c.look(now) {
				tick.Reset(clockTick)
			}
		case now := <-sweep.C:
			for _, ch := range c.registry.all() {
				ch.expire(now)
			}
		}
	}
}

// look expires what is due in the watched channels, and reports whether there are any left.
func (c *clock) look(now time.Time) bool {
	c.mu.Lock()
	watched := c.watched
	c.watched = make(map[*channel]struct{}, len(watched))
	c.mu.Unlock()
	for ch := range watched {
		if !ch.expire(now).IsZero() {
			c.mu.Lock()
			c.watched[ch] = struct{}{}
			c.mu.Unlock()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watched) > 0
}
