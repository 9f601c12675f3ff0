package runqueue

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// However many Runners block, the next one runs. Those that end their goroutines, and those that
// submit more, leave nobody behind.
func TestNobodyWaitsForAnother(t *testing.T) {
	const runners = 2 * maxFreeWorkers
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		release := make(chan struct{})
		var entered, ended, more atomic.Int64
		for i := range runners {
			q.Submit(probe(func() {
				entered.Add(1)
				<-release
				ended.Add(1)
				if i%7 == 0 {
					runtime.Goexit()
				}
				q.Submit(probe(func() { more.Add(1) }))
			}))
		}
		synctest.Wait()
		if n := entered.Load(); n != runners {
			t.Fatalf("%d run at once, want all %d", n, runners)
		}
		if n := len(q.Running()); n != runners {
			t.Errorf("%d are listed as running, want %d", n, runners)
		}
		close(release)
		synctest.Wait()
		if n, want := more.Load(), int64(runners-(runners+6)/7); n != want || ended.Load() != runners {
			t.Errorf("%d ended and %d more ran, want %d and %d", ended.Load(), n, runners, want)
		}
		if q.HasWork() || len(q.Running()) > 0 {
			t.Errorf("work is left: %d run", len(q.Running()))
		}
		q.mu.Lock()
		defer q.mu.Unlock()
		if len(q.mu.free) > maxFreeWorkers || len(q.mu.workers) != len(q.mu.free) {
			t.Errorf("%d workers are kept, %d of them free", len(q.mu.workers), len(q.mu.free))
		}
	})
}

// Every Runner runs once, however long the queue becomes.
func TestEachRunsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(*testing.T) {
			var q Queue
			ran := make([]atomic.Int32, 10*3*firstSize)
			submitted := 0
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, 3*firstSize), 1, 10).Draw(rt, "bursts") {
				q.mu.Lock() // no worker looks meanwhile
				q.mu.spinning = true
				q.mu.Unlock()
				for range n {
					i := submitted
					submitted++
					q.Submit(probe(func() { ran[i].Add(1) }))
				}
				if !q.HasWork() {
					rt.Fatal("no work after Submit")
				}
				q.mu.Lock()
				spinner := q.getWorkerLocked()
				q.mu.Unlock()
				go spinner.begin()
				synctest.Wait()
			}
			for i := range ran[:submitted] {
				if n := ran[i].Load(); n != 1 {
					rt.Fatalf("the Runner %d ran %d times", i, n)
				}
			}
		})
	})
}

// Here finds the Runner of its own queue, and of no other.
func TestHere(t *testing.T) {
	var q, other Queue
	type result struct{ here, there, beside Runner }
	got := make(chan result)
	r := &self{}
	r.run = func() {
		beside := make(chan Runner)
		go func() { beside <- q.Here() }()
		got <- result{q.Here(), other.Here(), <-beside}
	}
	q.Submit(r)
	if g := <-got; g.here != Runner(r) || g.there != nil || g.beside != nil {
		t.Errorf("submitted: %v", g)
	}
	go q.RunHere(r)
	if g := <-got; g.here != Runner(r) || g.there != nil || g.beside != nil {
		t.Errorf("run alone: %v", g)
	}
	if q.Here() != nil {
		t.Error("a test is taken for a Runner")
	}
}

type self struct{ run func() }

func (s *self) Run() { s.run() }

type starts struct{ n atomic.Int64 }

func (s *starts) RunnerStarts() { s.n.Add(1) }

func TestObserverLearnsOfEveryStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue
		var s starts
		q.Observe(&s)
		for range 100 {
			q.Submit(probe(func() {}))
		}
		go q.RunHere(probe(func() {}))
		synctest.Wait()
		if n := s.n.Load(); n != 101 {
			t.Errorf("%d starts, want 101", n)
		}
	})
}
