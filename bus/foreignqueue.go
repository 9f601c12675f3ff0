package bus

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/ring"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// foreignQueue are events without a key, published by something that is no bus, on
// their way to lanes that are chosen by key: such an event tells its key only when
// it is decoded. That is user code, so it runs neither on the transport's goroutine
// nor under a lock, but on one goroutine of the topic, which lives while there
// are any. The fan-out's lock covers it.
type foreignQueue struct {
	queue   ring.Ring[*transport.Envelope]
	bytes   int
	working bool                // the goroutine runs
	inHand  *transport.Envelope // that it looks at, or nil
}

// needsDecoding tells whether env must be decoded before a lane can be chosen.
func (fan *fanout[T]) needsDecoding(env *transport.Envelope) bool {
	if env.Key != "" || fan.key == nil || env.Malformed != nil || !fan.info.isForeign(env) {
		return false
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return fan.planLocked().keyed
}

// enqueueForeign queues a foreign event, unless there are as many as an inbox may hold.
func (fan *fanout[T]) enqueueForeign(env *transport.Envelope) (queued bool) {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fan.mu.foreign == nil {
		fan.mu.foreign = new(foreignQueue)
	}
	st := fan.mu.foreign
	size := env.Size()
	if st.bytes+size > fan.core.inboxBytes {
		return false
	}
	st.queue.Push(&env)
	st.bytes += size
	if !st.working {
		st.working = fan.core.goroutines.goTracked("finding keys of bare payloads", fan.resolveKeys)
	}
	return true
}

// resolveKeys finds the key of each foreign event and lets it enter. The user code in that may
// end the goroutine: then another goes on, and the foreign event enters without a key.
func (fan *fanout[T]) resolveKeys() {
	returned := false
	defer func() {
		if !returned {
			fan.resumeResolving()
		}
	}()
	var env *transport.Envelope
	for {
		fan.mu.Lock()
		st := fan.mu.foreign
		if !st.queue.Pop(&env) {
			st.working = false
			fan.mu.Unlock()
			fan.core.changes.Notify()
			returned = true
			return
		}
		st.bytes -= env.Size()
		st.inHand = env
		fan.mu.Unlock()
		if key := fan.keyOf(env); key != "" {
			known := *env // the envelope itself is everybody's
			known.Key = key
			env = &known
		}
		fan.enter(env, true)
	}
}

// resumeResolving goes on after the Key or the codec ended the goroutine: what it had in hand enters
// without a key, so that the lane that gets it meets the same, as a failed attempt.
func (fan *fanout[T]) resumeResolving() {
	fan.mu.Lock()
	env := fan.mu.foreign.inHand
	fan.mu.Unlock()
	if env != nil { // else the bus has ended, and counted it
		fan.core.log.Warn("a payload's key could not be found", zap.String("topic", env.Topic), zap.Error(usercode.ErrGoexit))
		fan.enter(env, true)
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	fan.mu.foreign.working = fan.core.goroutines.goTracked("finding keys of bare payloads", fan.resolveKeys)
}

// abandonForeign counts the foreign events that wait as abandoned by every subscription, when
// the bus is closed.
func (fan *fanout[T]) abandonForeign() {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	st := fan.mu.foreign
	if st == nil {
		return
	}
	n := uint64(st.queue.Len())
	if st.inHand != nil { // the closed bus will not let it enter
		n++
	}
	fan.mu.received += n
	if len(fan.mu.targets) == 0 {
		fan.mu.unrouted += n
	}
	for _, t := range fan.mu.targets {
		l := t.choose(0)
		l.accepted += n
		l.mu.Lock()
		l.mu.abandoned += n
		l.mu.Unlock()
	}
	st.queue, st.bytes, st.inHand = ring.Ring[*transport.Envelope]{}, 0, nil
}

// keyOf decodes env to find its key; "" when that can't be done: then the lane
// that gets it will find out why, and make it a dead letter.
func (fan *fanout[T]) keyOf(env *transport.Envelope) (key string) {
	defer func() {
		if r := recover(); r != nil {
			fan.core.log.Warn("a payload's key could not be found", zap.String("topic", env.Topic), zap.String("panic", errguard.Format(r)))
		}
	}()
	var v T
	if err := fan.info.codec.Decode(env.Payload, &v); err != nil {
		return ""
	}
	return fan.key(v)
}

// overflowed counts env as dropped by every subscription, and reports it.
func (fan *fanout[T]) overflowed(env *transport.Envelope) {
	fan.mu.Lock()
	fan.mu.received++
	var owners []laneOwner[T]
	for _, t := range fan.mu.targets {
		l := t.choose(0)
		l.accepted++
		l.dropped++
		owners = append(owners, l.cfg.owner)
	}
	fan.mu.Unlock()
	now := time.Now()
	for _, owner := range owners {
		owner.reportOverflow(env, now)
	}
}
