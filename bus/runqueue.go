package bus

import (
	"sync"
	"sync/atomic"
)

// runQueue is the goroutines that a bus's lanes run on. A lane that an event wakes gets in
// line, and whoever of the run queue comes by takes the first in line and runs it until it
// has nothing to do, then the next. So a lane with one event to handle costs neither a
// goroutine nor the memory of its stack, which among thousands of lanes no cache holds.
//
// The run queue has no size. While anybody is in line there is a spinner: a goroutine that is
// ready to run and has no lane yet. Who takes a lane that may keep it for ever leaves
// a spinner behind for the rest of the line. So a lane waits for a processor only, never
// for another lane's handler to return, just as if it had been given a goroutine of
// its own at once.
type runQueue struct {
	watch *slowWatch // nil where Config.SlowHandler is off; never changes
	_     [cacheLine]byte
	// hasWork says that somebody is in line: mu.n is not 0.
	hasWork atomic.Bool
	mu      struct {
		sync.Mutex
		spinning bool // a spinner was started and has not looked yet
		queue    []laneRunner
		head, n  int // of queue, a circle whose length is a power of two
		free     []*worker
		workers  map[uint32]*worker // all, by their numbers
	}
	_ [cacheLine]byte
}

// laneRunner is a lane of any type.
type laneRunner interface {
	// work runs the lane until it has nothing to do. Whatever becomes of the
	// goroutine, the lane sees to itself.
	work()
	laneNode() *laneNode
	watched
}

// firstQueue is how many lanes may be in line at first; a power of two.
const firstQueue = 16

// run has r run soon, and in the order of the calls if nobody blocks.
func (c *runQueue) run(r laneRunner) {
	c.mu.Lock()
	if c.mu.n == len(c.mu.queue) {
		c.growLocked()
	}
	c.mu.queue[(c.mu.head+c.mu.n)&(len(c.mu.queue)-1)] = r
	c.mu.n++
	if c.mu.n == 1 {
		c.hasWork.Store(true)
	}
	var spinner *worker
	if !c.mu.spinning {
		c.mu.spinning = true
		spinner = c.getWorkerLocked()
	}
	c.mu.Unlock()
	if spinner != nil {
		go spinner.begin()
	}
}

// runAlone runs r on the calling goroutine, which is a new one.
func (c *runQueue) runAlone(r laneRunner) {
	c.mu.Lock()
	w := c.getWorkerLocked()
	w.only = r
	c.startLocked(w, r)
	c.mu.Unlock()
	w.start()
}

// look has w, which begins as a spinner, run lanes for as long as there are any in line. Then
// w is dismissed.
func (c *runQueue) look(w *worker) (released bool) {
	spinner := true
	for {
		c.mu.Lock()
		if spinner {
			c.mu.spinning = false
			spinner = false
		}
		if c.mu.n == 0 {
			c.putWorkerLocked(w)
			c.mu.Unlock()
			return true
		}
		r := c.mu.queue[c.mu.head]
		c.mu.queue[c.mu.head] = nil
		c.mu.head = (c.mu.head + 1) & (len(c.mu.queue) - 1)
		c.mu.n--
		var follow *worker // r may take its time
		if c.mu.n == 0 {
			c.hasWork.Store(false)
		} else if !c.mu.spinning {
			c.mu.spinning = true
			follow = c.getWorkerLocked()
		}
		c.startLocked(w, r)
		c.mu.Unlock()
		if follow != nil {
			go follow.begin()
		}
		r.work()
	}
}

// startLocked says that w is about to run r.
func (c *runQueue) startLocked(w *worker, r laneRunner) {
	w.lane = r
	if c.watch != nil {
		c.watch.armLocked()
	}
}

func (c *runQueue) growLocked() {
	line := make([]laneRunner, max(firstQueue, 2*len(c.mu.queue)))
	k := copy(line, c.mu.queue[c.mu.head:])
	copy(line[k:], c.mu.queue[:c.mu.head])
	c.mu.queue, c.mu.head = line, 0
}
