package bus

import (
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/mailbox"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// strangers are events without a key, published by something that is no bus, on
// their way to lanes that are chosen by key: such an event tells its key only when
// it is decoded. That is user code, so it runs neither on the transport's goroutine
// nor under a lock, but on one goroutine of the topic, which lives while there
// are any. The intake's lock covers it.
type strangers struct {
	queue   mailbox.Ring[*transport.Envelope]
	bytes   int
	working bool                // the goroutine runs
	inHand  *transport.Envelope // that it looks at, or nil
}

// strange tells whether env must be decoded before a lane can be chosen.
func (in *intake[T]) strange(env *transport.Envelope) bool {
	return env.Key == "" && in.topic.cfg.Key != nil && in.keyed.Load() && env.Malformed == nil && in.topic.info.isForeign(env)
}

// welcome queues a stranger, unless there are as many as an inbox may hold.
func (in *intake[T]) welcome(env *transport.Envelope) (queued bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.mu.strangers == nil {
		in.mu.strangers = new(strangers)
	}
	st := in.mu.strangers
	size := env.Size()
	if st.bytes+size > in.bus.cfg.InboxBytes {
		return false
	}
	st.queue.Push(&env)
	st.bytes += size
	if !st.working {
		st.working = in.bus.goWork("finding keys of bare payloads", in.introduce)
	}
	return true
}

// introduce finds the key of each stranger and lets it enter. The user code in that may
// end the goroutine: then another goes on, and the stranger enters without a key.
func (in *intake[T]) introduce() {
	returned := false
	defer func() {
		if !returned {
			in.introduceAgain()
		}
	}()
	var env *transport.Envelope
	for {
		in.mu.Lock()
		st := in.mu.strangers
		if !st.queue.Pop(&env) {
			st.working = false
			in.mu.Unlock()
			in.bus.settled.notify()
			returned = true
			return
		}
		st.bytes -= env.Size()
		st.inHand = env
		in.mu.Unlock()
		if key := in.keyOf(env); key != "" {
			known := *env // the envelope itself is everybody's
			known.Key = key
			env = &known
		}
		in.enter(env, true)
	}
}

// introduceAgain goes on after the Key or the codec ended the goroutine: what it had in hand enters
// without a key, so that the lane that gets it meets the same, as a failed attempt.
func (in *intake[T]) introduceAgain() {
	in.mu.Lock()
	env := in.mu.strangers.inHand
	in.mu.Unlock()
	if env != nil { // else the bus has ended, and counted it
		in.bus.log.Warn("a payload's key could not be found", zap.String("topic", env.Topic), zap.Error(usercode.ErrGoexit))
		in.enter(env, true)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.mu.strangers.working = in.bus.goWork("finding keys of bare payloads", in.introduce)
}

// abandonForeign counts the strangers that wait as abandoned by every subscription, when
// the bus is closed.
func (t *Topic[T]) abandonForeign() {
	in := &t.intake
	in.mu.Lock()
	defer in.mu.Unlock()
	st := in.mu.strangers
	if st == nil {
		return
	}
	n := uint64(st.queue.Len())
	if st.inHand != nil { // the closed bus will not let it enter
		n++
	}
	in.mu.received += n
	if len(in.mu.subs) == 0 {
		in.mu.unrouted += n
	}
	for _, s := range in.mu.subs {
		l := s.choose(0)
		l.accepted += n
		l.mu.Lock()
		l.mu.abandoned += n
		l.mu.Unlock()
	}
	st.queue, st.bytes, st.inHand = mailbox.Ring[*transport.Envelope]{}, 0, nil
}

// keyOf decodes env to find its key; "" when that can't be done: then the lane
// that gets it will find out why, and make it a dead letter.
func (in *intake[T]) keyOf(env *transport.Envelope) (key string) {
	defer func() {
		if r := recover(); r != nil {
			in.bus.log.Warn("a payload's key could not be found", zap.String("topic", env.Topic), zap.String("panic", errguard.Format(r)))
		}
	}()
	var v T
	if err := in.topic.info.codec.Decode(env.Payload, &v); err != nil {
		return ""
	}
	return in.topic.cfg.Key(v)
}

// overflowed counts env as dropped by every subscription, and reports it.
func (in *intake[T]) overflowed(env *transport.Envelope) {
	in.mu.Lock()
	in.mu.received++
	subs := slices.Clone(in.mu.subs)
	for _, s := range subs {
		l := s.choose(0)
		l.accepted++
		l.dropped++
	}
	in.mu.Unlock()
	now := time.Now()
	for _, s := range subs {
		s.reportOverflow(env, now)
	}
}
