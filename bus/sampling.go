package bus

import "time"

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

// timed runs the chain for the current event, measures it, and looks how deep the
// mailbox is.
func (l *lane[T]) timed() error {
	l.sampleDepth()
	start := time.Now()
	err := l.handler(l.ctx, &l.d)
	took := time.Since(start)
	l.cfg.owner.measured().add(took)
	// At most twice as far as the last time: the first events tell much, and they
	// may be few.
	l.sample.stride = int(min(longestStride, int64(samplePeriod/max(1, took)), int64(2*max(1, l.sample.stride))))
	l.sample.left = max(0, l.sample.stride-1)
	return err
}

// sampleDepth looks how deep the mailbox is. Producers look, too, where they find
// it full, and whoever reads Stats.
func (l *lane[T]) sampleDepth() {
	l.sawDepth(l.box.Waiting())
}

// sawDepth says that n events were seen in the mailbox.
func (l *lane[T]) sawDepth(n int) {
	for {
		high := l.high.Load()
		if int64(n) <= high || l.high.CompareAndSwap(high, int64(n)) {
			return
		}
	}
}
