package appender

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// watchInterval is how often somebody looks whether the log answers, while something is under way.
const watchInterval = time.Minute

// watch looks after calls of the log that take long. While nothing is under way it has no timer.
//
// It is also the clock of the queues: now is at most watchInterval ago while it is armed, and more if
// the machine sleeps. So what is told by it seems older than it is, which is the safe side.
type watch struct {
	armed atomic.Bool // look will be called, and will see what is busy now
	now   atomic.Pointer[time.Time]

	mu      sync.Mutex
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// arm has look called in a while, if it is not to be already. A queue calls it, locked, when it has
// become busy.
func (a *Appender) arm() {
	w := &a.watch
	if w.armed.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed.Load() {
		return
	}
	now := time.Now()
	w.now.Store(&now)
	w.armed.Store(true)
	if !w.stopped {
		w.timer = time.AfterFunc(watchInterval, func() { a.Go("watch appends", a.look) })
	}
}

func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

// look ends calls that have taken too long, and reports what takes long.
func (a *Appender) look() {
	a.watch.armed.Store(false) // before it looks: who becomes busy after that arms it again
	now, busy := time.Now(), false
	a.watch.now.Store(&now)
	var late []func()
	for q := range a.all {
		if !q.mu.busy {
			continue
		}
		busy = true
		took := elapsed(*q.mu.since, now)
		if took >= patience {
			q.endContextLocked(fmt.Errorf("the log has not answered for %v", took))
		}
		if took >= watchInterval && !q.mu.warned {
			q.mu.warned = true
			err := fmt.Errorf("no answer for %v; %d events are open", took, q.mu.open)
			if q.mu.doubt != nil {
				err = fmt.Errorf("%w; it is repeated: %w", err, q.mu.doubt)
			}
			late = append(late, func() { q.report(err) })
		}
	}
	if busy {
		a.arm()
	}
	for _, report := range late {
		report()
	}
}
