package publisher

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
)

// windowMemory is what one class remembers of what it sent, in the windows of all its channel
// queues. mu is taken last.
type windowMemory struct {
	mu sync.Mutex
	// mu guards memory, and the windows.
	memory *sendwindow.Memory
}

// sendWindow is the window of a channel queue. What the memory has no room for may be any
// window's.
type sendWindow struct {
	of     *windowMemory
	window *sendwindow.Window
}

// newWindow returns the window of one more channel queue.
func (m *windowMemory) newWindow() *sendWindow {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &sendWindow{of: m, window: m.memory.Window()}
}

// expire drops what is remembered for longer than it may be.
func (m *windowMemory) expire(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.memory.Expire(now)
}

// remember puts the events of a batch that were accepted into their windows. Their buffers are
// others afterwards.
func (m *windowMemory) remember(now time.Time, b *batch, outcomes []outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, it := range b.events {
		if s := it.queue; it.done && outcomes[i].err == nil && it.seq != 0 && !it.dead && s.window != nil {
			it.doc = s.window.window.Put(now, it.seq, it.doc)
		}
	}
}

// declare is sendwindow.Window.Declare.
func (w *sendWindow) declare(now time.Time, seq uint64) {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.window.Declare(now, seq)
}

// drop is sendwindow.Window.Drop.
func (w *sendWindow) drop() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.window.Drop()
}
