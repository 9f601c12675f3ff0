package publisher

import (
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// fewRedirects is how many times in a row a channel queue may be sent to another node before it
// goes on in a moment only: nodes may disagree for a while.
const fewRedirects = 3

// redirectTimeout is how long a redirect holds to a node that nobody is connected to. It is a new
// primary, which the next snapshot has; or the slot was back before anybody asked, and there is no
// other snapshot.
const redirectTimeout = 250 * time.Millisecond

// targetLocked is the node queue that a slot's channel queues of a class belong to.
func (o *sender) targetLocked(slot int, class connkey.Class) *nodeQueue {
	return o.nodeQueueLocked(connkey.Key{Addr: o.fallbacksLocked(class).at(o.mu.redirects.Owner(slot)), Class: class})
}

// isServedLocked reports whether a writer of any class is connected to a node.
func (o *sender) isServedLocked(addr string) bool {
	for class := range o.cfg.Classes.All() {
		if l := o.mu.nodes[connkey.Key{Addr: addr, Class: class}]; l != nil && l.writers > 0 {
			return true
		}
	}
	return false
}

// expireRedirects ends those that led nowhere, and the pauses of channel queues that were sent
// around in circles.
func (o *sender) expireRedirects(now time.Time) {
	o.lockAll()
	defer o.unlockAll()
	for _, slot := range o.mu.redirects.EndOlder(now, redirectTimeout, o.isServedLocked) {
		for _, s := range o.mu.bySlot[slot] {
			o.moveLocked(s)
		}
	}
	for s := range o.mu.paused {
		if !now.Before(s.pausedUntil) {
			o.resumeLocked(s)
		}
	}
}

// resumeLocked ends the pause of a channel queue.
func (o *sender) resumeLocked(s *channelQueue) {
	delete(o.mu.paused, s)
	s.pausedUntil = time.Time{}
	s.node.schedule(s)
}

// redirectLoop returns for how long a channel queue of which nothing is in flight any more is to be
// left alone because nodes send it from one to the other and back, or to themselves: longer each
// time, so that nodes that never agree are not run hot.
func (s *channelQueue) redirectLoop() time.Duration {
	if !s.redirected {
		return 0
	}
	s.redirected = false
	s.redirects++
	if s.redirects <= fewRedirects {
		return 0
	}
	return min(resendEvery<<min(s.redirects-fewRedirects-1, 16), maxRedirectPause)
}

// shortPause is how long a channel waits together with its node. A longer pause is the channel's
// own, and ends when the nodes are asked about the topology the next time, or one time later.
const shortPause = 15 * time.Millisecond

// maxRedirectPause is for how long a channel queue is left alone at most. A new topology ends it.
const maxRedirectPause = 250 * time.Millisecond
