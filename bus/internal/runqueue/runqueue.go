// Package runqueue runs lanes that have work on as few goroutines as will do.
package runqueue

import (
	"sync"
	"sync/atomic"
)

// Runner is something that has work: a lane.
type Runner interface {
	// Run does the work until there is none. If user code ends the goroutine with runtime.Goexit,
	// the Runner itself sees to the rest.
	Run()
}

// Observer learns that a Runner starts.
type Observer interface {
	// RunnerStarts is called with the queue's lock held, and must not block or call the queue.
	RunnerStarts()
}

// Queue is the goroutines that a bus's lanes run on, its workers. A lane that has work joins the
// queue. A worker takes the first in the queue and runs it until it has nothing to do, then the
// next. So a lane with one event to handle costs neither a goroutine nor the memory of its stack,
// which among thousands of lanes no cache holds.
//
// The number of workers has no limit. While a lane is in the queue there is a spinner: a goroutine
// that is ready to run and has no lane yet. A worker that takes a lane, which may keep it for ever,
// leaves a spinner behind for the rest of the queue. So a lane waits for a processor only, never
// for another lane's handler to return, just as if it had been given a goroutine of its own.
//
// The zero value is ready for use. A Queue must not be copied.
type Queue struct {
	observer Observer // nil if there is none; see Observe
	_        [cacheLine]byte
	// hasWork says that the queue is not empty: mu.n is not 0.
	hasWork atomic.Bool
	mu      struct {
		sync.Mutex
		spinning bool // a spinner was started and has not looked yet
		queue    []Runner
		head, n  int // of queue, a circle whose length is a power of two
		free     []*worker
		workers  map[uint32]*worker // all, by their numbers
	}
	_ [cacheLine]byte
}

// cacheLine is the size of a cache line, or more.
const cacheLine = 64

// firstSize is how many lanes may be in the queue at first; a power of two.
const firstSize = 16

// Observe has o learn of every start. It must be called before the queue is used.
func (q *Queue) Observe(o Observer) { q.observer = o }

// HasWork tells whether a Runner waits for a worker.
func (q *Queue) HasWork() bool { return q.hasWork.Load() }

// Submit has r run soon, and in the order of the calls if no Runner blocks.
func (q *Queue) Submit(r Runner) {
	q.mu.Lock()
	if q.mu.n == len(q.mu.queue) {
		q.growLocked()
	}
	q.mu.queue[(q.mu.head+q.mu.n)&(len(q.mu.queue)-1)] = r
	q.mu.n++
	if q.mu.n == 1 {
		q.hasWork.Store(true)
	}
	var spinner *worker
	if !q.mu.spinning {
		q.mu.spinning = true
		spinner = q.getWorkerLocked()
	}
	q.mu.Unlock()
	if spinner != nil {
		go spinner.begin()
	}
}

// RunHere runs r on the calling goroutine, which must be a new one.
func (q *Queue) RunHere(r Runner) {
	q.mu.Lock()
	w := q.getWorkerLocked()
	w.only = r
	q.startLocked(w, r)
	q.mu.Unlock()
	w.start()
}

// serve has w, which begins as a spinner, run lanes for as long as there are any in the queue. Then
// w is free for other use.
func (q *Queue) serve(w *worker) (released bool) {
	spinner := true
	for {
		q.mu.Lock()
		if spinner {
			q.mu.spinning = false
			spinner = false
		}
		if q.mu.n == 0 {
			q.putWorkerLocked(w)
			q.mu.Unlock()
			return true
		}
		r := q.mu.queue[q.mu.head]
		q.mu.queue[q.mu.head] = nil
		q.mu.head = (q.mu.head + 1) & (len(q.mu.queue) - 1)
		q.mu.n--
		var next *worker // r may take its time
		if q.mu.n == 0 {
			q.hasWork.Store(false)
		} else if !q.mu.spinning {
			q.mu.spinning = true
			next = q.getWorkerLocked()
		}
		q.startLocked(w, r)
		q.mu.Unlock()
		if next != nil {
			go next.begin()
		}
		r.Run()
	}
}

// startLocked says that w is about to run r.
func (q *Queue) startLocked(w *worker, r Runner) {
	w.running = r
	if q.observer != nil {
		q.observer.RunnerStarts()
	}
}

func (q *Queue) growLocked() {
	larger := make([]Runner, max(firstSize, 2*len(q.mu.queue)))
	k := copy(larger, q.mu.queue[q.mu.head:])
	copy(larger[k:], q.mu.queue[:q.mu.head])
	q.mu.queue, q.mu.head = larger, 0
}

// Running is a Runner that a worker runs.
type Running struct {
	Runner Runner
	Worker uint32 // the worker's number, see [WorkerOf]
}

// Running lists the Runners that have a worker.
func (q *Queue) Running() []Running {
	q.mu.Lock()
	defer q.mu.Unlock()
	var all []Running
	for id, w := range q.mu.workers {
		if w.running != nil {
			all = append(all, Running{w.running, id})
		}
	}
	return all
}

// Here is the Runner of this queue on whose goroutine the caller runs; nil if it is on none's.
func (q *Queue) Here() Runner {
	id := workerHere()
	if id == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.mu.workers[id]; w != nil {
		return w.running
	}
	return nil
}
