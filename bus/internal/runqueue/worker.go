package runqueue

import (
	"bytes"
	"runtime"
	"strings"
	"sync/atomic"
)

// worker is a goroutine that runs lanes, one after another, for as long as there are any.
//
// A handler that waits may wait for itself. So a caller that is about to block must find out
// whether it runs on the goroutine of a handler, and of which. A context can't tell: it is handed
// on to goroutines that run beside the handler, or outlive it. Go has no storage for a goroutine,
// and to ask for its number takes a microsecond, too much for each start. So a worker's number
// stands in the names of the functions at the bottom of its stack. Only a caller that is about to
// block reads them.
type worker struct {
	id      uint32
	queue   *Queue
	begin   func() // w.start, made once
	only    Runner // the one to run, and no other; nil for those in the queue
	running Runner // that it runs, or ran last; nil before the first; guarded by queue.mu
}

// workerIDs numbers the workers of all queues, from 1. Each queue keeps its own and uses them
// again.
var workerIDs atomic.Uint32

// maxFreeWorkers bounds what a burst of lanes that block leaves behind.
const maxFreeWorkers = 1024

// getWorkerLocked takes a free worker or makes one.
func (q *Queue) getWorkerLocked() *worker {
	if n := len(q.mu.free); n > 0 {
		w := q.mu.free[n-1]
		q.mu.free = q.mu.free[:n-1]
		return w
	}
	w := &worker{id: workerIDs.Add(1), queue: q}
	w.begin = w.start
	if q.mu.workers == nil {
		q.mu.workers = make(map[uint32]*worker)
	}
	q.mu.workers[w.id] = w
	return w
}

// putWorkerLocked frees w, which runs nothing any more.
func (q *Queue) putWorkerLocked(w *worker) {
	w.only, w.running = nil, nil
	if len(q.mu.free) < maxFreeWorkers {
		q.mu.free = append(q.mu.free, w)
	} else {
		delete(q.mu.workers, w.id)
	}
}

// start is the worker's goroutine. User code may end it.
func (w *worker) start() {
	released := false
	defer func() {
		if !released {
			w.queue.mu.Lock()
			w.queue.putWorkerLocked(w)
			w.queue.mu.Unlock()
		}
	}()
	released = encodeID(w.id, w)
}

// run is what the worker does, and reports whether it was freed.
func (w *worker) run() (released bool) {
	if w.only == nil {
		return w.queue.serve(w)
	}
	w.only.Run()
	return false
}

// encodeID calls w.run beneath one function for each digit of id, the last digit first.
//
//go:noinline
func encodeID(id uint32, w *worker) (released bool) {
	if id == 0 {
		return w.run()
	}
	switch rest := id >> digitBits; id % (1 << digitBits) {
	case 0:
		return digit0(rest, w)
	case 1:
		return digit1(rest, w)
	case 2:
		return digit2(rest, w)
	case 3:
		return digit3(rest, w)
	case 4:
		return digit4(rest, w)
	case 5:
		return digit5(rest, w)
	case 6:
		return digit6(rest, w)
	default:
		return digit7(rest, w)
	}
}

const digitBits = 3

//go:noinline
func digit0(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit1(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit2(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit3(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit4(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit5(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit6(id uint32, w *worker) bool { return encodeID(id, w) }

//go:noinline
func digit7(id uint32, w *worker) bool { return encodeID(id, w) }

// bottomFrames is within how many frames of a worker's stack its first digit stands.
const bottomFrames = 12

// workerHere is the number of the worker whose goroutine calls; 0 if it is none's.
func workerHere() (id uint32) {
	pcs := make([]uintptr, 64)
	n := runtime.Callers(1, pcs)
	for n == len(pcs) { // the bottom is not among them
		pcs = make([]uintptr, 4*len(pcs))
		n = runtime.Callers(1, pcs)
	}
	var s idDecoder
	for i := n - 1; i >= 0; i-- {
		if f := runtime.FuncForPC(pcs[i] - 1); f != nil && !s.add(f.Name(), n-i) {
			break
		}
	}
	return s.id
}

// idDecoder reads a worker's number from the names of the functions on a stack.
type idDecoder struct {
	id     uint32
	digits int
}

// add takes the name of the function that stands n frames above the bottom, the bottom one
// first, and reports whether another is of use.
func (s *idDecoder) add(name string, n int) (more bool) {
	if d, ok := strings.CutPrefix(name, digitName); ok && len(d) == 1 {
		s.id |= uint32(d[0]-'0') << (digitBits * s.digits)
		s.digits++
		return true
	}
	if s.digits > 0 {
		return name == encodeName
	}
	return n <= bottomFrames
}

var encodeName, digitName = func() (string, string) {
	name := funcName()
	return name + "encodeID", name + "digit"
}()

// funcName is what the names of this package's functions begin with.
func funcName() string {
	pc, _, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(runtime.FuncForPC(pc).Name(), "funcName")
}

// WorkerOf is the number of the worker with these functions on its stack, the innermost first; 0 if
// it is no worker's stack.
func WorkerOf(functions []string) uint32 {
	var d idDecoder
	for i := len(functions) - 1; i >= 0; i-- {
		if !d.add(functions[i], len(functions)-i) {
			break
		}
	}
	return d.id
}

// MayBeWorker tells, at less cost than WorkerOf, whether the text of a stack may be a worker's.
func MayBeWorker(stack []byte) bool { return bytes.Contains(stack, []byte(digitName)) }
