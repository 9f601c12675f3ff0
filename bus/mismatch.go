package bus

import (
	"sync"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/transport"
)

// Mismatch says that another process knows a topic otherwise than this one.
type Mismatch = transport.Mismatch

// keptMismatches is how many peers of a topic are told apart.
const keptMismatches = 256

// mismatches are the peers that know a topic otherwise.
type mismatches struct {
	mu    sync.Mutex
	kept  []Mismatch // in the order in which they were found
	peers map[peer]int
}

// peer is a publisher or a subscriber.
type peer struct {
	name       string
	subscribes bool
}

// add keeps what is known of a peer, and reports whether that is new.
func (ms *mismatches) add(m Mismatch) (fresh bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	p := peer{m.Peer, m.Subscribes}
	i, known := ms.peers[p]
	switch {
	case known:
		fresh = ms.kept[i] != m
		ms.kept[i] = m
		return fresh
	case len(ms.kept) == keptMismatches:
		return false
	case ms.peers == nil:
		ms.peers = make(map[peer]int)
	}
	ms.peers[p] = len(ms.kept)
	ms.kept = append(ms.kept, m)
	return true
}

// Mismatches are the other processes that were found to know the topic otherwise, with other
// partitions, of another type: one entry for each publisher and subscriber, of the first 256. A
// process that has ended, or was mended and is another publisher now, stays listed. Each is logged
// once, as a warning. A transport that asks nobody finds none: transport/redis asks with
// Config.Repair, on both sides, when it subscribes and every half minute.
func (t *Topic[T]) Mismatches() []Mismatch {
	if t.link == nil {
		return nil
	}
	ms := &t.link.mismatches
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return append([]Mismatch(nil), ms.kept...)
}

func (t *Topic[T]) mismatch(m Mismatch) {
	if m.Here.Differs(m.There) == "" || !t.link.mismatches.add(m) {
		return
	}
	t.bus.log.Warn("another process knows the topic with other settings", zap.String("topic", t.info.name),
		zap.String("peer", m.Peer), zap.Bool("peer_subscribes", m.Subscribes), zap.Stringer("mismatch", m))
}

// Mismatch makes sink a transport.MismatchSink.
func (s sink) Mismatch(m transport.Mismatch) {
	if h, ok := s.bus.topics.Load(m.Here.Name); ok {
		h.(topicHandle).mismatch(m)
	}
}

var _ transport.MismatchSink = sink{}
