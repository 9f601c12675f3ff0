package publisher

import (
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// A publisher that publishes on a topic no more says so in a last watermark of each of the topic's
// channels, and then the channel queues go, with what is remembered to be sent again. What is asked
// about them afterwards is not answered: a publisher that has forgotten a channel does not know
// whether somebody misses anything there, and to say that it never assigned a number would be wrong.

// errOnItsWay is why a topic is not forgotten.
var errOnItsWay = errors.New("events of it are on their way")

// ForgetTopic drops the channel queues of a publisher on a topic, after a last watermark of each. It
// does not publish there again. An error says that events of it are on their way.
func (pub *Publisher) ForgetTopic(topic transport.Topic, publisher string) error {
	placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
	if err := placement.Validate(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrInvalidTopic, err)
	}
	if err := pub.sender.leaveTopic(placement, publisher); err != nil {
		return err
	}
	pub.routes.forget(placement)
	if pub.cfg.Views != nil {
		pub.cfg.Views.Forgets(topic, publisher)
	}
	return nil
}

// leaveTopic has the last watermarks of a publisher's channels due, and drops what has none.
func (o *sender) leaveTopic(placement router.Placement, publisher string) error {
	o.lockAll()
	defer o.unlockAll()
	var all []*channelQueue
	for i := range placement.Len() {
		s := o.mu.queues[queueKey{publisher: publisher, channel: placement.Channel(i)}]
		switch {
		case s == nil:
		case len(s.pending) > 0 || s.inFlight > 0:
			return errOnItsWay
		default:
			all = append(all, s)
		}
	}
	for _, s := range all {
		if s.watermarkAt.IsZero() || o.mu.err != nil { // nothing was published, or the last watermark was sent
			o.dropLocked(s)
			continue
		}
		s.leaving = true
		s.watermarkAt = s.lastSent // due
		s.node.watermarkBy(s.watermarkAt)
	}
	return nil
}

// dropLeft drops the channel queues of a node queue whose last watermarks were sent.
func (o *sender) dropLeft(l *nodeQueue) {
	l.mu.Lock()
	left := l.left
	l.left = nil
	l.mu.Unlock()
	if len(left) == 0 {
		return
	}
	o.lockAll()
	defer o.unlockAll()
	for _, s := range left {
		if s.leaving && len(s.pending) == 0 && o.mu.queues[s.queueKey] == s {
			o.dropLocked(s)
		}
	}
}
