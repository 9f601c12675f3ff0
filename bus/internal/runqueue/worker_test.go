package runqueue

import (
	"testing"
)

// deep calls f n frames further up.
func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

type probe func()

func (p probe) Run() { p() }

// A worker's number is read off its stack, however deep that is, and on no other
// goroutine.
func TestWorkerHere(t *testing.T) {
	for _, id := range []uint32{1, 7, 8, 9, 63, 64, 511, 512, 1<<20 + 5, 1<<32 - 1} {
		for _, depth := range []int{0, 1, 60, 64, 70, 5000} {
			for name, begin := range map[string]func(*worker){
				"by itself": func(w *worker) { go w.begin() },
				"around":    func(w *worker) { go func() { w.start() }() },
			} {
				q := new(Queue)
				w := &worker{id: id, queue: q}
				w.begin = w.start
				got, beside := make(chan uint32), make(chan uint32)
				w.only = probe(func() {
					go func() { beside <- workerHere() }()
					deep(depth, func() { got <- workerHere() })
				})
				begin(w)
				if n := <-beside; n != 0 {
					t.Errorf("a goroutine beside worker %d is taken for %d", id, n)
				}
				if n := <-got; n != id {
					t.Errorf("worker %d, started %s, %d frames deep, is taken for %d", id, name, depth, n)
				}
			}
		}
	}
	if n := workerHere(); n != 0 {
		t.Errorf("a test is taken for worker %d", n)
	}
}

func BenchmarkWorkerHere(b *testing.B) {
	done := make(chan struct{})
	w := &worker{id: 12, queue: new(Queue)}
	w.only = probe(func() {
		deep(10, func() {
			for b.Loop() {
				workerHere()
			}
		})
		close(done)
	})
	go w.start()
	<-done
}

func TestWorkerOf(t *testing.T) {
	name := funcName()
	worker := []string{
		"main.h", name + "digit2", name + "encodeID", name + "digit1", name + "encodeID", name + "(*worker).start", "runtime.goexit",
	}
	if n := WorkerOf(worker); n != 2<<digitBits+1 {
		t.Errorf("worker %d, want 17", n)
	}
	if n := WorkerOf([]string{"main.main", "runtime.goexit"}); n != 0 {
		t.Errorf("main is taken for worker %d", n)
	}
}
