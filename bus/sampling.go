package bus

import (
	"sync/atomic"
	"time"
)

// Bounds of how many events go by between two whose handling is timed. Looking at
// the clock twice takes about 100 ns; a sample in 10 µs of handling keeps that at a
// hundredth, and slow handlers are timed for every event.
const (
	samplePeriod  = 10 * time.Microsecond
	longestStride = 256
)

// sampling is which of a lane's events are timed. Single events are, and not stretches
// of them, whose mean would hide the one that is slow.
type sampling struct {
	left   int // events that go by untimed
	stride int // between the last timed one and the next
}

// took chooses how many events go by until the next is timed, after one that took so long: at most
// twice as many as the last time, since the first events tell much, and they may be few.
func (s *sampling) took(d time.Duration) {
	s.stride = int(min(longestStride, int64(samplePeriod/max(1, d)), int64(2*max(1, s.stride))))
	s.left = max(0, s.stride-1)
}

// highWater is the most events seen in a mailbox. The lane looks now and then, publishers where they
// find it full, and whoever reads Stats.
type highWater struct{ n atomic.Int64 }

// saw says that n events were seen.
func (h *highWater) saw(n int) {
	for {
		high := h.n.Load()
		if int64(n) <= high || h.n.CompareAndSwap(high, int64(n)) {
			return
		}
	}
}
