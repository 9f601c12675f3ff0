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
	scout func() // c.look as a scout, made once so that starting it allocates nothing
	_     [cacheLine]byte
	// manned says that somebody is in line: mu.n is not 0.
	manned atomic.Bool
	mu     struct {
		sync.Mutex
		scouting bool // a scout was started and has not looked yet
		line     []runner
		head, n  int // of line, a circle whose length is a power of two
	}
	_ [cacheLine]byte
}

// runner is a lane of any type.
type runner interface {
	// work runs the lane until it has nothing to do. Whatever becomes of the
	// goroutine, the lane sees to itself.
	work()
}

// firstLine is how many lanes may be in line at first; a power of two.
const firstLine = 16

func (c *crew) init() {
	c.scout = func() { c.look(true) }
}

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
	scouting := c.mu.scouting
	c.mu.scouting = true
	c.mu.Unlock()
	if !scouting {
		go c.scout()
	}
}

// look runs lanes for as long as there are any in line.
func (c *crew) look(scout bool) {
	for {
		c.mu.Lock()
		if scout {
			c.mu.scouting = false
			scout = false
		}
		if c.mu.n == 0 {
			c.mu.Unlock()
			return
		}
		r := c.mu.line[c.mu.head]
		c.mu.line[c.mu.head] = nil
		c.mu.head = (c.mu.head + 1) & (len(c.mu.line) - 1)
		c.mu.n--
		follow := false // r may take its time
		if c.mu.n == 0 {
			c.manned.Store(false)
		} else if !c.mu.scouting {
			c.mu.scouting = true
			follow = true
		}
		c.mu.Unlock()
		if follow {
			go c.scout()
		}
		r.work()
	}
}

func (c *crew) growLocked() {
	line := make([]runner, max(firstLine, 2*len(c.mu.line)))
	k := copy(line, c.mu.line[c.mu.head:])
	copy(line[k:], c.mu.line[:c.mu.head])
	c.mu.line, c.mu.head = line, 0
}
