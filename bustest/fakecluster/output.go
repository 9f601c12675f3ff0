package fakecluster

import (
	"net"
	"sync"

	"github.com/shardbus/shardbus/internal/signal"
)

// output is what waits to be written to one client. Putting something in never blocks, so that a client that does not
// read harms nobody; one goroutine, run, writes.
type output struct {
	limit int           // bytes that may wait while bounded
	wake  signal.Wakeup // there is something to do

	mu sync.Mutex
	// mu guards what follows.
	waiting []byte
	writing int  // bytes that are with the connection
	bounded bool // the client subscribes to something
	ending  bool // close the connection when all is written
}

func newOutput(limit int) *output {
	return &output{limit: limit, wake: signal.NewWakeup()}
}

// put appends p. It reports false if too much waits: the client is to be cut off.
func (o *output) put(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	o.mu.Lock()
	o.waiting = append(o.waiting, p...)
	fits := !o.bounded || len(o.waiting) <= o.limit
	o.mu.Unlock()
	o.wake.Notify()
	return fits
}

// size is how many bytes wait or are being written.
func (o *output) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.waiting) + o.writing
}

// bound says whether the limit holds.
func (o *output) bound(yes bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.bounded = yes
}

// end closes the connection behind what waits.
func (o *output) end() {
	o.mu.Lock()
	o.ending = true
	o.mu.Unlock()
	o.wake.Notify()
}

// run writes until the connection fails, end was called, or gone is closed. It writes nothing while gate, asked before
// each write, blocks; gate reports false to give up.
func (o *output) run(conn net.Conn, gone <-chan struct{}, gate func() bool) {
	var spare []byte
	for {
		select {
		case <-o.wake:
		case <-gone:
			return
		}
		if !gate() {
			return
		}
		o.mu.Lock()
		p, ending := o.waiting, o.ending
		o.waiting, o.writing = spare[:0], len(p)
		o.mu.Unlock()
		if len(p) > 0 {
			if _, err := conn.Write(p); err != nil {
				return
			}
			o.mu.Lock()
			o.writing = 0
			o.mu.Unlock()
		}
		if ending {
			return
		}
		if spare = p; cap(spare) > keptBuffer {
			spare = nil
		}
	}
}

// keptBuffer is how large a buffer is kept for the next time.
const keptBuffer = 64 << 10
