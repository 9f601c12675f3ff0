package publisher

import (
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/fallback"
	"go.uber.org/zap"
)

// fallbackConfig is when a primary is gone back to. While events are published at a replica nothing
// is missing: there is no hurry, and each return to a primary that is not well costs
// Settings.StandbyAfter.
var fallbackConfig = fallback.Config{Trial: 500 * time.Millisecond, MaxTrial: 30 * time.Second, Calm: time.Minute, Doubt: 500 * time.Millisecond}

// fallbacks are where the events of each shard are published. Each class has its own: what holds
// up its connections does not move the events of others. Their methods do nothing on nil. sender.mu
// guards them.
type fallbacks struct {
	byPrimary map[string]*fallback.Shard
	byNode    map[string]*fallback.Shard
}

// update makes the shards those of the snapshot. What is known of a node goes with it to its new
// primary.
func (r *fallbacks) update(now time.Time, snapshot *router.Snapshot) {
	if r == nil {
		return
	}
	byPrimary, byNode := make(map[string]*fallback.Shard), make(map[string]*fallback.Shard)
	kept := make(map[*fallback.Shard]bool)
	for _, shard := range snapshot.Shards() {
		primary := shard.Primary.Addr
		replicas := make([]string, len(shard.Replicas))
		for i, n := range shard.Replicas {
			replicas[i] = n.Addr
		}
		s := r.byNode[primary] // it was a replica of that shard, or its primary
		if s == nil || kept[s] {
			s = fallback.New(fallbackConfig, primary, replicas)
		} else {
			s.SetNodes(now, primary, replicas)
		}
		kept[s] = true
		byPrimary[primary] = s
		for _, addr := range append(replicas, primary) {
			byNode[addr] = s
		}
	}
	r.byPrimary, r.byNode = byPrimary, byNode
}

// at returns where what belongs to a primary is published.
func (r *fallbacks) at(primary string) string {
	if r == nil {
		return primary
	}
	if s := r.byPrimary[primary]; s != nil {
		return s.At()
	}
	return primary
}

// fallbacksLocked returns those of a class; nil without Settings.Standby.
func (o *sender) fallbacksLocked(class connkey.Class) *fallbacks {
	if o.mu.fallbacks == nil {
		return nil
	}
	return o.mu.fallbacks[class]
}

// fallbackShardLocked returns the shard of a node; nil if none is known, or without
// Settings.Standby.
func (o *sender) fallbackShardLocked(key connkey.Key) *fallback.Shard {
	if o.mu.fallbacks == nil {
		return nil
	}
	return o.mu.fallbacks[key.Class].byNode[key.Addr]
}

// reportNode tells what is known of a node to its shard, and moves events of the class if they are
// to be published elsewhere now.
func (o *sender) reportNode(key connkey.Key, tell func(now time.Time, s *fallback.Shard)) {
	if was, is := o.reportNodeLocking(key, tell); was != is {
		o.cfg.Logger.Info("redis: events of a shard are published at another of its nodes", zap.String("old_addr", was), zap.String("addr", is))
	}
}

// reportNodeLocking is reportNode, and returns where events were published and are now.
func (o *sender) reportNodeLocking(key connkey.Key, tell func(now time.Time, s *fallback.Shard)) (was, is string) {
	o.lockAll()
	defer o.unlockAll()
	s := o.fallbackShardLocked(key)
	if s == nil {
		return "", ""
	}
	now := time.Now()
	was = s.At()
	tell(now, s)
	if is = s.At(); is != was {
		o.moveAllLocked(now, connkey.Key{Addr: was, Class: key.Class})
	}
	return was, is
}

// moveAllLocked brings the channel queues of a node queue to where they belong. Those with events in
// flight follow when these are resolved. A watermark tells soon what the node accepted and perhaps
// kept to itself.
func (o *sender) moveAllLocked(now time.Time, key connkey.Key) {
	l := o.mu.nodes[key]
	if l == nil {
		return
	}
	for _, s := range l.queues {
		if !s.watermarkAt.IsZero() {
			s.scheduleWatermark(now)
		}
		o.moveLocked(s)
	}
}

// NodeFailed says that a node did not accept an event on the connection of a class, or may not
// have.
func (o *sender) NodeFailed(key connkey.Key) {
	o.reportNode(key, func(now time.Time, s *fallback.Shard) { s.Failed(now, key.Addr) })
}

// nodeAccepts says that a node would accept an event.
func (o *sender) nodeAccepts(key connkey.Key) {
	o.reportNode(key, func(now time.Time, s *fallback.Shard) { s.Accepts(now, key.Addr) })
}

// nodeReports takes in whether a node says that it is cut off.
func (o *sender) nodeReports(addr string, failing bool) {
	for class := range o.cfg.Classes.All() {
		o.reportNode(connkey.Key{Addr: addr, Class: class}, func(now time.Time, s *fallback.Shard) { s.ReportFailing(now, addr, failing) })
	}
}

// needsProbe reports whether a node is to be asked whether it accepts events.
func (o *sender) needsProbe(key connkey.Key) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	s := o.fallbackShardLocked(key)
	return s != nil && s.NeedsProbe(key.Addr)
}

// With Settings.Standby an event that nobody hears, where somebody heard the one before, is sent
// again for resendFor, every resendEvery: from Redis 7.2.2 on a replica that is promoted drops its
// subscriptions, and has them again in a moment.
const (
	resendFor   = 25 * time.Millisecond
	resendEvery = 2 * time.Millisecond
)

// resendsUnheard reports whether an event of the channel queue that nobody heard is to be sent
// again.
func (s *channelQueue) resendsUnheard(cfg *Settings, now time.Time) bool {
	if !cfg.Standby || !s.hadReceivers {
		return false
	}
	if s.unheardSince.IsZero() {
		s.unheardSince = now
	}
	return now.Sub(s.unheardSince) < resendFor
}

// replyTimeout is for how long nothing may move on a connection to a node: less if there is another
// to go to. alone says that there is none now, and may be soon.
func (o *sender) replyTimeout(key connkey.Key) (limit time.Duration, alone bool) {
	if !o.cfg.Standby || o.cfg.StandbyAfter >= o.cfg.CommandTimeout {
		return o.cfg.CommandTimeout, false
	}
	o.mu.RLock()
	defer o.mu.RUnlock()
	if s := o.fallbackShardLocked(key); s != nil && s.Elsewhere(key.Addr) {
		return o.cfg.StandbyAfter, false
	}
	return o.cfg.CommandTimeout, true
}
