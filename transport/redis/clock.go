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
	repairs  *repairs

	mu sync.Mutex
	// mu guards watched: channels where something waits.
	watched map[*channel]struct{}

	wake chan struct{} // capacity 1: watched is not empty any more
}

func newClock(r *registry, repairs *repairs) *clock {
	return &clock{registry: r, repairs: repairs, watched: make(map[*channel]struct{}), wake: make(chan struct{}, 1)}
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
	tick := time.NewTimer(promptly)
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

// look asks for what is missing in the watched channels and gives up what is due, and reports whether there are any left.
func (c *clock) look(now time.Time) bool {
	c.mu.Lock()
	watched := c.watched
	c.watched = make(map[*channel]struct{}, len(watched))
	c.mu.Unlock()
	c.repairs.ask(now, watched)
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
