package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/shardbus/shardbus/bench/internal/cputime"
)

// w7Count is how many idle subscriptions or actors there are.
const w7Count = 100_000

func w7() *workload {
	return &workload{
		name: "W7", title: "100,000 idle subscriptions, each of a topic of its own that is not counted; each one's bytes, goroutines, ns to set up; idle CPU",
		metrics: []string{"bytes", "goroutines", "setup ns", "cpu %"}, events: w7Count, rounds: 3,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			i, ok := c.(idler)
			if !ok {
				return nil, false, nil
			}
			f, err := i.idle(int(n))
			if err != nil {
				return nil, true, err
			}
			s, err := idling(f, int(n), limit, f.subscribe, nil)
			return s, true, err
		},
		bars: []bar{
			{metric: "bytes", most: 400, stretch: 128},
			{metric: "goroutines", most: 0},
			{metric: "setup ns", most: 1000},
			{metric: "cpu %", most: 0.5},
		},
	}
}

// idleFor is how long the CPU that idling takes is watched.
const idleFor = 200 * time.Millisecond

// idling measures what n calls of add leave behind, once settled (nil: at once)
// is true, and ends s.
func idling(s stopper, n int, limit time.Duration, add func(i int) error, settled func() bool) (sample, error) {
	result, err := idlingRunning(n, limit, add, settled)
	runtime.KeepAlive(s)
	if stopErr := stopWithin(s, limit); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

func idlingRunning(n int, limit time.Duration, add func(i int) error, settled func() bool) (sample, error) {
	before, goroutines := memory(), runtime.NumGoroutine()
	start := time.Now()
	for i := range n {
		if err := add(i); err != nil {
			return nil, err
		}
	}
	took := time.Since(start)
	for settled != nil && !settled() {
		if time.Since(start) > limit {
			return nil, fmt.Errorf("%w after %v: not every actor has handled its event", errLate, limit)
		}
		time.Sleep(time.Millisecond)
	}
	goroutinesNow := runtime.NumGoroutine()
	after := memory()
	cpu := cputime.Used()
	time.Sleep(idleFor)
	cpu = cputime.Used() - cpu
	return sample{
		"bytes":      (after - before) / float64(n),
		"goroutines": float64(goroutinesNow-goroutines) / float64(n),
		"setup ns":   float64(took.Nanoseconds()) / float64(n),
		"cpu %":      100 * float64(cpu) / float64(idleFor),
	}, nil
}

// memory is what heap and stacks take, in bytes, after garbage collection.
func memory() float64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers and sweeping left
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}
