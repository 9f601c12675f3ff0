package bus

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/transport"
)

// deliver enters an envelope off the transport. It never blocks: what finds a
// mailbox full waits in the lane's inbox, and what finds that full too is
// dropped and reported as a gap.
func (fan *fanout[T]) deliver(env *transport.Envelope) {
	if !fan.core.takesTopics() && env.Publisher != fan.info.publisher {
		return // the bus is leaving; only what its own handlers publish it still takes
	}
	if !fan.needsDecoding(env) {
		fan.enter(env, false)
	} else if !fan.enqueueForeign(env) {
		fan.overflowed(env)
	}
}

// enter offers an envelope to every target; foreign says that it comes out of the
// queue of foreign events.
func (fan *fanout[T]) enter(env *transport.Envelope, foreign bool) {
	id := keyInfo{hash: keyHash(env.Key), key: env.Key, known: true}
	c := cell[T]{head: head{env: env}}
	lost := false
	var overflow []laneOwner[T]
	fan.mu.Lock()
	if foreign {
		fan.mu.foreign.inHand = nil
	}
	if fan.core.state.Load() == stateClosed {
		fan.mu.Unlock()
		return
	}
	fan.mu.received++
	if len(fan.mu.targets) == 0 {
		fan.mu.unrouted++
	}
	for _, t := range fan.planLocked().own { // off a transport nobody reads the shared mailbox
		l := t.choose(id.hash)
		switch l.receive(&c, id) {
		case receivedDropped:
			lost = true
		case receivedOverflow:
			overflow = append(overflow, l.cfg.owner)
		case receivedOK:
		}
		l.commit()
	}
	own := env.Publisher == fan.info.publisher
	if own {
		fan.loopback.arrive(env.Partition, env.Seq)
	}
	fan.mu.Unlock()
	if own {
		fan.core.changes.Notify()
	}
	if lost {
		fan.reportDrops()
	}
	if len(overflow) == 0 {
		return
	}
	now := time.Now()
	for _, owner := range overflow {
		owner.reportOverflow(env, now)
	}
}

// reportDrops logs the drops that are due to be told.
func (fan *fanout[T]) reportDrops() {
	type due struct {
		s       *subscription[T]
		dropped uint64
	}
	var reports []due
	fan.mu.Lock()
	for s := range fan.allLocked() {
		if s.cfg != nil && s.cfg.drops.due {
			s.cfg.drops.due = false
			reports = append(reports, due{s, s.cfg.drops.all})
		}
	}
	fan.mu.Unlock()
	for _, r := range reports {
		r.s.log().Warn("the mailbox was full and events were dropped",
			zap.Uint64("dropped", r.dropped), zap.Stringer("policy", r.s.opts.policy), zap.Int("capacity", r.s.opts.capacity))
	}
}
