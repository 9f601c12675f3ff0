package consumer

// window is which offsets of a lease are settled, from the first on that is not. It is what the log
// keeps too, so that the reader knows how far it may read.
type window struct {
	low     uint64 // the first offset that is not settled
	size    uint64
	settled []bool // of low and those behind it, by offset modulo size
}

func newWindow(low uint64, size int) window {
	return window{low: low, size: uint64(size), settled: make([]bool, size)} //nolint:gosec // a log's window is positive
}

// settle marks an offset.
func (w *window) settle(offset uint64) {
	if offset < w.low || offset >= w.low+w.size {
		return
	}
	w.settled[offset%w.size] = true
	for w.settled[w.low%w.size] {
		w.settled[w.low%w.size] = false
		w.low++
	}
}

// passTo says that everything before an offset is settled, or gone.
func (w *window) passTo(offset uint64) {
	for w.low < offset {
		w.settled[w.low%w.size] = false
		w.low++
		if offset-w.low > w.size { // nothing of the window is left
			clear(w.settled)
			w.low = offset
		}
	}
	for w.settled[w.low%w.size] {
		w.settled[w.low%w.size] = false
		w.low++
	}
}

// room is how many offsets from next on are within the window.
func (w *window) room(next uint64) int {
	if end := w.low + w.size; next < end {
		return int(end - next) //nolint:gosec // at most size
	}
	return 0
}
