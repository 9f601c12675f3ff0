package bus

import (
	"sync"

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

// all is what is kept.
func (ms *mismatches) all() []Mismatch {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return append([]Mismatch(nil), ms.kept...)
}
