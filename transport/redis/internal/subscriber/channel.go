package subscriber

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// tracking bounds what is remembered for each channel.
func tracking(repair *track.Repair, maxHeld, maxPayload int) track.Config {
	return track.Config{
		Hold:          50 * time.Millisecond,
		TailHold:      500 * time.Millisecond,
		MaxHeld:       maxHeld,
		MaxPublishers: 1024,
		MaxFloors:     1 << 16,
		MaxUnverified: 1 << 14,
		Roll:          track.NewBudget(unverifiedBytes),
		MaxPayload:    maxPayload,
		Forget:        10 * time.Minute, // living publishers send watermarks more often
		FinalForget:   time.Minute,
		Margin:        2 * time.Second,
		MaxJump:       1 << 32,
		Repair:        repair,
	}
}

// unverifiedBytes is what is remembered of publishers that have never answered a question, in all channels together. A few
// of each channel are known in any case.
const unverifiedBytes = 64 << 20

// maxHeld is how many events of one publisher wait when it is not asked for what is missing.
const maxHeld = 1024

// channel is a Pub/Sub channel that is subscribed to. There are thousands: what is small stands together.
type channel struct {
	reconcile.Channel // subscriptions.mu guards it, but for what it is

	topic string // of an event channel, of which it is a partition

	partition, partitions uint16

	control *controlState // of a control channel; subscriptions.mu guards it

	baseline *baselineState // baselines.mu guards it; nil: there is nothing to ask, or all have answered

	source atomic.Pointer[session] // where it is confirmed, or was last: what has no number is taken from there; nil: nowhere yet

	mu sync.Mutex
	// mu guards tracker: nil before the first confirmation, and when nobody wants the channel any more. It is held while
	// the sink is called.
	tracker *track.Tracker
	quality quality // of what arrived, likewise guarded
}

// transport is that of a channel that was confirmed.
func (ch *channel) subscriber() *Subscriber { return ch.source.Load().s }

// start makes the channel live. It was confirmed.
func (ch *channel) start(now time.Time) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	switch {
	case ch.Kind() != reconcile.Event:
	case ch.tracker == nil:
		ch.tracker = track.New(&ch.subscriber().tracking[ch.Class()], now, ch)
		ch.subscriber().Answerer.Positions(ch.Name(), ch.Slot(), func(publisher string, settled, assigned uint64) {
			ch.tracker.Begin(now, publisher, assigned+1, settled+1)
		})
	default:
		ch.liveLocked(now)
	}
}

// liveLocked says that nothing is lost any more.
func (ch *channel) liveLocked(now time.Time) {
	if ch.tracker.Live(now); ch.tracker.Holding() {
		ch.subscriber().ticker.watch(ch)
	}
}

// stop ends what arrives. When it returns the sink is not called any more.
// It returns what became of the channel's numbers until then.
func (ch *channel) stop() (track.Counts, quality) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return track.Counts{}, quality{}
	}
	ch.tracker.End()
	counts := ch.tracker.Counts()
	ch.tracker = nil
	return counts, ch.quality
}

// hasPublishers reports whether publishers are known here.
func (ch *channel) hasPublishers() bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.tracker != nil && ch.tracker.Publishers() > 0
}

// fault notes that events may have been lost.
func (ch *channel) fault(reason transport.GapReason) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker != nil {
		ch.tracker.Fault(reason)
	}
}

// message takes in an event that arrived on f.
func (ch *channel) message(now time.Time, f *session, text string) {
	env, read, ok := ch.decode(text)
	if !ok {
		env.Payload = wire.Bytes(text)
	}
	if read.Unread != 0 {
		ch.subscriber().unread.report(env, read.Unread)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return
	}
	if ch.source.Load() == f {
		ch.quality.unread += uint64(read.Unread.Len()) //nolint:gosec // never negative
		ch.tracker.Event(now, env, read.Uncertain)
	} else {
		ch.tracker.Copy(now, env, read.Uncertain)
	}
	if ch.tracker.Holding() {
		ch.subscriber().ticker.watch(ch)
	}
}

// decode is wire.Decode into a new envelope.
func (ch *channel) decode(text string) (env *transport.Envelope, read wire.Reading, ok bool) {
	env = new(transport.Envelope)
	read, ok = wire.Decode(text, env)
	env.Topic, env.Partitions, env.Partition = ch.topic, int(ch.partitions), int(ch.partition)
	return env, read, ok
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
		ch.subscriber().ticker.watch(ch)
	}
}

// overflow notes that messages were dropped here, and reports n events among them that carried no sequence.
func (ch *channel) overflow(now time.Time, n uint64) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return
	}
	ch.tracker.Fault(transport.Overflow)
	ch.liveLocked(now)
	if n == 0 {
		return
	}
	ch.subscriber().sink().Gap(transport.Gap{
		Topic: ch.topic, Partition: int(ch.partition), Count: n, Since: now, Kind: transport.Lost, Reason: transport.Overflow,
	})
}

// expire gives up what has waited for long enough, and reports whether anything still waits.
func (ch *channel) expire(now time.Time) (waits bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return false
	}
	ch.tracker.Expire(now)
	return ch.tracker.Holding()
}

// collectMissing is track.Tracker.CollectMissing, and says of each publisher whether it has ever answered.
func (ch *channel) collectMissing(now time.Time, n uint64, collectMissing func(publisher string, missing seqset.Set, answers bool)) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker != nil {
		ch.tracker.CollectMissing(now, n, func(publisher string, missing seqset.Set) {
			collectMissing(publisher, missing, ch.tracker.Answers(publisher))
		})
	}
}

// inDoubt is track.Tracker.InDoubt.
func (ch *channel) inDoubt(publisher string) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.tracker != nil && ch.tracker.InDoubt(publisher)
}

// nackSent is track.Tracker.NackSent.
func (ch *channel) nackSent(now time.Time, publisher string, heard bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker != nil {
		ch.tracker.NackSent(now, publisher, heard)
	}
}

// awaits is track.Tracker.Awaits.
func (ch *channel) awaits(publisher string, n uint64) bool {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return ch.tracker != nil && ch.tracker.Awaits(publisher, n)
}

// answer is track.Tracker.Answer.
func (ch *channel) answer(now time.Time, publisher string, a track.Answer) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker != nil {
		ch.tracker.Answer(now, publisher, a)
	}
}

// counts is track.Tracker.Counts, and what arrived that could not be read.
func (ch *channel) counts() (track.Counts, quality) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.tracker == nil {
		return track.Counts{}, quality{}
	}
	return ch.tracker.Counts(), ch.quality
}

// Deliver makes the channel a track.Sink. The caller holds ch.mu.
func (ch *channel) Deliver(env *transport.Envelope) {
	if env.Malformed != nil {
		ch.quality.malformed++
	}
	ch.subscriber().sink().Deliver(env)
}

// Gap makes the channel a track.Sink. The caller holds ch.mu.
func (ch *channel) Gap(g track.Gap) {
	ch.subscriber().sink().Gap(transport.Gap{
		Topic: ch.topic, Partition: int(ch.partition), Publisher: g.Publisher, Epoch: g.Epoch,
		From: g.From, To: g.To, Count: g.Count, Since: g.Since, Kind: g.Kind, Reason: g.Reason,
	})
}
