package publisher

import (
	"time"
)

// fewRedirects is how many times in a row a channel queue may be sent to another node before it
// goes on in a moment only: nodes may disagree for a while.
const fewRedirects = 3

// redirectTimeout is how long a redirect holds to a node that nobody is connected to. It is a new
// primary, which the next snapshot has; or the slot was back before anybody asked, and there is no
// other snapshot.
const redirectTimeout = 250 * time.Millisecond

// redirect is where a node said that a slot is.
type redirect struct {
	to    string
	since time.Time
}

// targetLocked is the node queue that a slot's channel queues belong to.
func (o *sender) targetLocked(slot int) *nodeQueue {
	d, is := o.mu.redirects[slot]
	if !is {
		d.to = o.cluster.Owner(slot)
	}
	return o.nodeQueueLocked(o.mu.fallbacks.at(d.to))
}

// noteRedirectLocked notes that the node of l said that a slot is elsewhere, until the next
// snapshot.
//
// Several pipelines are in flight, so that it may say so still when the snapshot knows, or knows
// better. What it says then must not count: it would hold for as long as nothing else changes.
func (o *sender) noteRedirectLocked(l *nodeQueue, slot int, to string) {
	switch {
	case to == "" || o.targetLocked(slot) != l:
	case to == o.cluster.Owner(slot):
		delete(o.mu.redirects, slot)
	default:
		o.mu.redirects[slot] = redirect{to: to, since: time.Now()}
	}
}

// expireRedirects ends those that led nowhere, and the pauses of channel queues that were sent
// around in circles.
func (o *sender) expireRedirects(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for slot, d := range o.mu.redirects {
		if o.nodeQueueLocked(d.to).writers > 0 || now.Sub(d.since) < redirectTimeout {
			continue
		}
		delete(o.mu.redirects, slot)
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
