package bustest

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// memoryBroker is a broker with the buses on it.
type memoryBroker struct {
	memory *memory.Broker

	// Envelopes on their way into a bus are counted as they enter and when they
	// are in, so that idle can tell whether any moved while it looked.
	entering atomic.Uint64
	entered  atomic.Uint64
	changes  signal.Broadcast // something became idle, was recorded, or moved on

	// mu covers the state of the transports too. It is taken inside the locks of the
	// broker's channels, and nothing but a Bus's mu inside it.
	mu struct {
		sync.Mutex
		buses   []*Bus
		dropped map[*transport.Envelope]struct{} // on their way, to be told as gaps
		held    int                              // envelopes that faults hold back
	}
}

func newMemoryBroker() *memoryBroker { return &memoryBroker{memory: memory.NewBroker()} }

func (h *memoryBroker) join(b *Bus) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mu.buses = append(h.mu.buses, b)
}

func (h *memoryBroker) members() []*Bus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.mu.buses)
}

// idle tells whether nothing is pending on any of the buses. They are looked at one
// after another; since a quiet bus moves again only when an envelope enters it,
// it is enough that none did meanwhile.
func (h *memoryBroker) idle(buses []*Bus) bool {
	entered := h.entered.Load() // first: what entered later shows as a difference
	before := h.entering.Load()
	if entered != before {
		return false
	}
	h.mu.Lock()
	held := h.mu.held
	h.mu.Unlock()
	if held > 0 {
		return false
	}
	for _, b := range buses {
		if !b.view.Idle() {
			return false
		}
	}
	return h.entering.Load() == before
}
