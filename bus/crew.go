package bus

import (
	"sync"
	"sync/atomic"
)

// crew is the goroutines that a bus's lanes run on. A lane that an event wakes gets in
// line, and whoever of the crew comes by takes the first in line and runs it until it
// has nothing to do, then the next. So a lane with one event to handle costs neither a
// goroutine nor the memory of its stack, which among thousands of lanes no cache holds.
//
// The crew has no size. While anybody is in line there is a scout: a goroutine that is
// ready to run and has no lane yet. Who takes a lane that may keep it for ever leaves
// a scout behind for the rest of the line. So a lane waits for a processor only, never
// for another lane's handler to return, just as if it had been given a goroutine of
// its own at once.
type crew struct {
	watch *slowWatch // nil where Config.SlowHandler is off; never changes
	_     [cacheLine]byte
	// manned says that somebody is in line: mu.n is not 0.
	manned atomic.Bool
	mu     struct {
		sync.Mutex
		scouting bool // a scout was started and has not looked yet
		line     []runner
		head, n  int // of line, a circle whose length is a power of two
		free     []*worker
		workers  map[uint32]*worker // all, by their numbers
	}
	_ [cacheLine]byte
}

// runner is a lane of any type.
type runner interface {
	// work runs the lane until it has nothing to do. Whatever becomes of the
	// goroutine, the lane sees to itself.
	work()
	laneNode() *laneNode
	watched
}

// firstLine is how many lanes may be in line at first; a power of two.
const firstLine = 16

// run has r run soon, and in the order of the calls if nobody blocks.
func (c *crew) run(r runner) {
	c.mu.Lock()
	if c.mu.n == len(c.mu.line) {
		c.growLocked()
	}
	c.mu.line[(c.mu.head+c.mu.n)&(len(c.mu.line)-1)] = r
	c.mu.n++
	if c.mu.n == 1 {
		c.manned.Store(true)
	}
	var scout *worker
	if !c.mu.scouting {
		c.mu.scouting = true
		scout = c.hireLocked()
	}
	c.mu.Unlock()
	if scout != nil {
		go scout.begin()
	}
}

// runAlone runs r on the calling goroutine, which is a new one.
func (c *crew) runAlone(r runner) {
	c.mu.Lock()
	w := c.hireLocked()
	w.only = r
	c.startLocked(w, r)
	c.mu.Unlock()
	w.start()
}

// look has w, which begins as a scout, run lanes for as long as there are any in line. Then
// w is dismissed.
func (c *crew) look(w *worker) (dismissed bool) {
	scout := true
	for {
		c.mu.Lock()
		if scout {
			c.mu.scouting = false
			scout = false
		}
		if c.mu.n == 0 {
			c.dismissLocked(w)
			c.mu.Unlock()
			return true
		}
		r := c.mu.line[c.mu.head]
		c.mu.line[c.mu.head] = nil
		c.mu.head = (c.mu.head + 1) & (len(c.mu.line) - 1)
		c.mu.n--
		var follow *worker // r may take its time
		if c.mu.n == 0 {
			c.manned.Store(false)
		} else if !c.mu.scouting {
			c.mu.scouting = true
			follow = c.hireLocked()
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
func (c *crew) startLocked(w *worker, r runner) {
	w.lane = r
	if c.watch != nil {
		c.watch.armLocked()
	}
}

func (c *crew) growLocked() {
	line := make([]runner, max(firstLine, 2*len(c.mu.line)))
	k := copy(line, c.mu.line[c.mu.head:])
	copy(line[k:], c.mu.line[:c.mu.head])
	c.mu.line, c.mu.head = line, 0
}
