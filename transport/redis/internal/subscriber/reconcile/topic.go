package reconcile

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// Topic is a wanted topic.
type Topic struct {
	placement router.Placement
	channels  []*Channel // of each partition that of its events and that of its slot's watermarks; never changed
	waiting   *Call      // Subscribe calls some of whose channels are not confirmed
}

// Channels returns the topic's channels. The caller must not change them.
func (t *Topic) Channels() []*Channel { return t.channels }

// Subscribe wants a topic. It reports whether the call is the first to want it. The call ends when all channels of the
// topic are confirmed and released, or with an error.
func (r *Reconciler) Subscribe(c *Call, now time.Time) (first bool) {
	topic := r.topics[c.placement.Topic]
	if topic == nil {
		c.first = true
		topic = r.addTopic(c.placement, now)
	}
	if topic.placement == c.placement {
		r.wait(c, topic, now)
	} else {
		c.err = fmt.Errorf("%w: it is subscribed to with %d partitions, not %d", transport.ErrInvalidTopic,
			topic.placement.Partitions, c.placement.Partitions)
	}
	c.release()
	return c.first
}

// addTopic lists a topic, and has the sessions look after its channels.
func (r *Reconciler) addTopic(placement router.Placement, now time.Time) *Topic {
	n := placement.Len()
	class := r.classes.Of(placement.Topic)
	topic := &Topic{placement: placement, channels: make([]*Channel, 0, 2*n)}
	r.topics[placement.Topic] = topic
	for i := range n {
		slot := placement.Slot(i)
		event := r.eventChannel(placement, i, class, slot)
		watermarks := r.bySlot.watermarks(slot, class)
		if watermarks == nil {
			watermarks = r.effects.NewChannel(ChannelSpec{
				ChannelKey: ChannelKey{Name: wire.WatermarkChannel(slot), Class: class}, Kind: Watermark, Slot: slot,
			})
			r.add(watermarks)
		}
		topic.channels = append(topic.channels, event, watermarks)
		missing := r.ref(event, now)
		if r.ref(watermarks, now) || missing {
			r.mark(class, slot)
		}
	}
	return topic
}

// eventChannel returns the channel of a partition, which is listed.
func (r *Reconciler) eventChannel(placement router.Placement, partition int, class connkey.Class, slot int) *Channel {
	key := ChannelKey{Name: placement.Channel(partition), Class: class}
	ch := r.channels[key]
	if ch == nil {
		ch = r.effects.NewChannel(ChannelSpec{
			ChannelKey: key, Kind: Event, Slot: slot,
			Topic: placement.Topic, Partition: partition, Partitions: placement.Partitions,
		})
		r.add(ch)
	}
	return ch
}

// ref notes that one more topic wants a channel, and reports whether it is not confirmed.
func (r *Reconciler) ref(ch *Channel, now time.Time) (unconfirmed bool) {
	r.setRefs(ch, ch.refs+1)
	if ch.unconfirmed() {
		return true
	}
	if ch.refs == 1 { // it was about to be unsubscribed, and may have another owner since
		r.mark(ch.class, int(ch.slot))
		r.effects.Resume(ch, now)
	}
	return false
}

// wait has a Subscribe wait for the channels of its topic that are not confirmed, or not released since.
func (r *Reconciler) wait(c *Call, topic *Topic, now time.Time) {
	c.topic = topic
	c.waiters = make([]Waiter, len(topic.channels))
	for i, ch := range topic.channels {
		w := &c.waiters[i]
		w.call = c
		c.left.Add(1)
		switch {
		case ch.unconfirmed():
			c.unconfirmed++
			w.next, ch.waiting = ch.waiting, w
		case !r.effects.Join(ch, w, now):
			c.release()
		}
	}
	if c.unconfirmed > 0 {
		c.next, topic.waiting = topic.waiting, c
	}
}

// Cancel ends a Subscribe before its time. It returns nil if the channels were confirmed: the caller that only waits to
// be released is subscribed all the same. Else, or if it had failed, it returns why.
func (r *Reconciler) Cancel(c *Call, why error) error {
	c.fail(why)
	return c.err
}

// Unsubscribe ends that a topic is wanted. Its Subscribe calls that still wait fail with why. It returns the channels
// that nobody wants now, and whether the topic was wanted.
func (r *Reconciler) Unsubscribe(topic string, why error) (unwanted []*Channel, was bool) {
	t := r.topics[topic]
	if t == nil {
		return nil, false
	}
	return r.unsubscribe(t, why), true
}

// Abandon is Unsubscribe for the topic that a failed Subscribe was the first to want, if it is wanted since.
func (r *Reconciler) Abandon(c *Call, why error) (unwanted []*Channel, was bool) {
	if !c.first || c.topic == nil || r.topics[c.placement.Topic] != c.topic {
		return nil, false
	}
	return r.unsubscribe(c.topic, why), true
}

func (r *Reconciler) unsubscribe(t *Topic, why error) (unwanted []*Channel) {
	delete(r.topics, t.placement.Topic)
	t.fail(why)
	for _, ch := range t.channels {
		if r.setRefs(ch, ch.refs-1); ch.refs > 0 {
			continue
		}
		unwanted = append(unwanted, ch)
		if ch.Unsubscribed() {
			r.remove(ch)
		} else {
			r.markWhereSubscribed(ch)
		}
	}
	return unwanted
}

// Topics returns the names of the wanted topics, in no order.
func (r *Reconciler) Topics() []string {
	names := make([]string, 0, len(r.topics))
	for name := range r.topics {
		names = append(names, name)
	}
	return names
}

// Fail ends every Subscribe that waits for a confirmation.
func (r *Reconciler) Fail(err error) {
	for _, t := range r.topics {
		t.fail(err)
	}
}
