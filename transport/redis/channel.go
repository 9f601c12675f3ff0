package redis

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// tracking bounds what is remembered for each channel.
var tracking = track.Config{
	Hold:          50 * time.Millisecond,
	TailHold:      500 * time.Millisecond,
	MaxHeld:       1024,
	MaxPublishers: 1024,
	Forget:        10 * time.Minute, // living publishers send watermarks more often
	FinalForget:   time.Minute,
	Margin:        2 * time.Second,
	MaxJump:       1 << 32,
}

// channel is a Pub/Sub channel that is subscribed to: a partition of a topic, or the watermarks of a slot.
type channel struct {
	name      string
	slot      int
	placement router.Placement // of the topic; zero: watermarks
	partition int
	t         *Transport

	// registry.mu guards what follows.

	users   int    // topics that want it; 0: it is to be left
	home    *feed  // where it is confirmed; nil: nowhere
	last    string // the address where it was confirmed last
	asked   *feed  // where SSUBSCRIBE is on its way
	leaving bool   // SUNSUBSCRIBE is on its way
	// moved is why the slot has another owner than the channel was confirmed at; Unknown: it has not.
	moved   transport.GapReason
	waiting []*await // Subscribe calls that wait for it

	mu sync.Mutex
	// mu guards tracker: nil before the first confirmation, and when nobody wants the channel any more. It is held while
	// the sink is called.
	tracker *track.Tracker
}

// begin makes the channel live.
func (ch *channel) begin(now time.Time) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		ch.tracker = track.New(tracking, now, ch)
	}
}

// mute ends what arrives. When it returns the sink is not called any more.
func (ch *channel) mute() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.tracker = nil
}

// fault notes that events may have been lost.
func (ch *channel) fault(reason transport.GapReason) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker != nil {
		ch.tracker.Fault(reason)
	}
}

// watermarks reports whether the channel is one of watermarks.
func (ch *channel) watermarks() bool { return ch.placement.Topic == "" }

// message takes in an event.
func (ch *channel) message(now time.Time, text string) {
	env := new(transport.Envelope)
	uncertain, ok := wire.Decode(text, env)
	if !ok {
		env.Payload = wire.Bytes(text)
	}
	env.Topic, env.Partitions, env.Partition = ch.placement.Topic, ch.placement.Partitions, ch.partition
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return
	}
	ch.tracker.Event(now, env, uncertain)
	if ch.tracker.Holding() {
		ch.t.clock.watch(ch)
	}
}

// watermark takes in what a publisher says of this channel.
func (ch *channel) watermark(now time.Time, publisher string, m track.Mark) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return
	}
	ch.tracker.Watermark(now, publisher, m)
	if ch.tracker.Holding() {
		ch.t.clock.watch(ch)
	}
}

// overflow reports n events that were dropped here and carried no sequence.
func (ch *channel) overflow(now time.Time, n uint64) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return
	}
	ch.t.sink().Gap(transport.Gap{
		Topic: ch.placement.Topic, Partition: ch.partition, Count: n, Since: now, Kind: transport.Lost, Reason: transport.Overflow,
	})
}

// expire is track.Tracker.Expire.
func (ch *channel) expire(now time.Time) time.Time {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return time.Time{}
	}
	return ch.tracker.Expire(now)
}

// Deliver makes the channel a track.Sink. The caller holds ch.mu.
func (ch *channel) Deliver(env *transport.Envelope) { ch.t.sink().Deliver(env) }

// Gap makes the channel a track.Sink. The caller holds ch.mu.
func (ch *channel) Gap(g track.Gap) {
	ch.t.sink().Gap(transport.Gap{
		Topic: ch.placement.Topic, Partition: ch.partition, Publisher: g.Publisher,
		From: g.From, To: g.To, Count: g.To - g.From + 1, Since: g.Since, Kind: g.Kind, Reason: g.Reason,
	})
}
