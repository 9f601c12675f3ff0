package signal

// Wakeup wakes one goroutine that reads from it. A Notify that comes while nobody reads is kept for
// the next read; several count as one. So the reader must look at everything that may have changed.
type Wakeup chan struct{}

// NewWakeup makes a Wakeup that was not notified yet.
func NewWakeup() Wakeup { return make(Wakeup, 1) }

// Notify has the next read, or the one that waits, return. It never blocks.
func (w Wakeup) Notify() {
	select {
	case w <- struct{}{}:
	default: // one is kept already
	}
}

// Clear drops a Notify that nobody has read.
func (w Wakeup) Clear() {
	select {
	case <-w:
	default:
	}
}
