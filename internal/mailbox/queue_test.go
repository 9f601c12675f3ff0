package mailbox_test

import (
	"runtime"
	"testing"

	"github.com/shardbus/shardbus/internal/mailbox"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The queue against a slice: whatever the order of puts, commits, takes and
// rests, items come out once, in order, and the counts agree.
func TestQueueMatchesSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q mailbox.Queue[int]
		var model []int // committed, not taken
		var uncommitted []int
		next, taken := 1, 0
		running := false
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "op") {
			case 0, 1, 2, 3:
				for range rapid.IntRange(1, 40).Draw(t, "burst") {
					v := next
					next++
					q.Put(&v)
					uncommitted = append(uncommitted, v)
				}
			case 4, 5:
				q.Commit()
				model = append(model, uncommitted...)
				uncommitted = nil
			case 6, 7, 8:
				for range rapid.IntRange(1, 40).Draw(t, "takes") {
					c := q.Next()
					if len(model) == 0 {
						if c != nil {
							t.Fatalf("Next = %d from an empty queue", *c)
						}
						break
					}
					if c == nil || *c != model[0] {
						t.Fatalf("Next = %v, want %d", c, model[0])
					}
					model = model[1:]
					taken++
					running = true
				}
			case 9:
				q.Rest()
				running = false
			}
			if got := q.Len(); got != len(model)+len(uncommitted) {
				t.Fatalf("Len = %d, want %d", got, len(model)+len(uncommitted))
			}
			if n, r := q.Cursor(); n != uint64(taken) || r != running {
				t.Fatalf("Cursor = %d %v, want %d %v", n, r, taken, running)
			}
			if q.Ready() != (len(model) > 0) {
				t.Fatalf("Ready = %v with %d committed", q.Ready(), len(model))
			}
			limit := rapid.IntRange(1, 100).Draw(t, "capacity")
			if q.Full(limit) != (len(model)+len(uncommitted) >= limit) {
				t.Fatalf("Full(%d) = %v with %d waiting", limit, q.Full(limit), len(model)+len(uncommitted))
			}
		}
	})
}

func TestQueueBetweenTwoGoroutines(t *testing.T) {
	const n, capacity = 200_000, 100
	var q mailbox.Queue[[2]int]
	done := make(chan struct{})
	go func() {
		defer close(done)
		for want := 0; want < n; {
			c := q.Next()
			if c == nil {
				q.Rest()
				runtime.Gosched()
				continue
			}
			if c[0] != want || c[1] != -want {
				t.Errorf("item %d is %v", want, *c)
				return
			}
			want++
		}
		q.Rest()
	}()
	for i := range n {
		for q.Full(capacity) {
			runtime.Gosched()
		}
		v := [2]int{i, -i}
		q.Put(&v)
		if i%3 == 0 || i == n-1 || q.Full(capacity) {
			q.Commit()
		}
	}
	<-done
}

// A steady flow below the largest backlog seen allocates nothing.
func TestQueueSteadyStateDoesNotAllocate(t *testing.T) {
	var q mailbox.Queue[int]
	cycle := func() {
		for i := range 1000 {
			q.Put(&i)
		}
		q.Commit()
		for q.Next() != nil {
		}
		q.Rest()
	}
	for range 10 {
		cycle()
	}
	if a := testing.AllocsPerRun(100, cycle); a != 0 {
		t.Errorf("%.1f allocations a cycle", a)
	}
}

// Rest leaves no value behind in the cells: what was handled can be collected.
func TestQueueKeepsNoValueAlive(t *testing.T) {
	var q mailbox.Queue[*[1 << 10]byte]
	collected := make(chan struct{}, 20)
	for range 20 {
		v := new([1 << 10]byte)
		runtime.AddCleanup(v, func(struct{}) { collected <- struct{}{} }, struct{}{})
		q.Put(&v)
	}
	q.Commit()
	for q.Next() != nil {
	}
	q.Rest()
	for len(collected) < 20 {
		runtime.GC()
		runtime.Gosched()
	}
	runtime.KeepAlive(&q)
}

func TestRingMatchesSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r mailbox.Ring[int]
		var model []int
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				r.Push(&i)
				model = append(model, i)
			} else {
				var got int
				ok := r.Pop(&got)
				if ok != (len(model) > 0) || ok && got != model[0] {
					t.Fatalf("Pop = %d %v, model %v", got, ok, model)
				}
				if ok {
					model = model[1:]
				}
			}
			if r.Len() != len(model) {
				t.Fatalf("Len = %d, want %d", r.Len(), len(model))
			}
			if p := r.Peek(); (p == nil) != (len(model) == 0) || p != nil && *p != model[0] {
				t.Fatalf("Peek = %v, model %v", p, model)
			}
		}
	})
}
