// Package ring has a circular queue that grows.
package ring

// firstCells is the size of the first array.
const firstCells = 8

// Ring is a growable circular FIFO from which either side may take. The zero
// value is empty and owns no memory. It is not safe for concurrent use: the
// owner's lock covers every method.
type Ring[C any] struct {
	cells []C
	head  int
	n     int
}

// Len is how many items wait.
func (r *Ring[C]) Len() int { return r.n }

// Push appends a copy of *c.
func (r *Ring[C]) Push(c *C) {
	if r.n == len(r.cells) {
		r.grow()
	}
	r.cells[(r.head+r.n)%len(r.cells)] = *c
	r.n++
}

// Pop moves the oldest item into *c, clears its cell and reports whether there
// was one.
func (r *Ring[C]) Pop(c *C) bool {
	if r.n == 0 {
		return false
	}
	var zero C
	*c = r.cells[r.head]
	r.cells[r.head] = zero
	r.head = (r.head + 1) % len(r.cells)
	r.n--
	return true
}

// Peek is the oldest item, or nil. The pointer is valid until the next call.
func (r *Ring[C]) Peek() *C {
	if r.n == 0 {
		return nil
	}
	return &r.cells[r.head]
}

// Each calls f with every item, the oldest first.
func (r *Ring[C]) Each(f func(*C)) {
	for i := range r.n {
		f(r.At(i))
	}
}

// At is the i-th item from the oldest, which is 0. The pointer is valid until the next Push or Pop.
func (r *Ring[C]) At(i int) *C { return &r.cells[(r.head+i)%len(r.cells)] }

func (r *Ring[C]) grow() {
	bigger := make([]C, max(firstCells, 2*len(r.cells)))
	k := copy(bigger, r.cells[r.head:])
	copy(bigger[k:], r.cells[:r.head])
	r.cells, r.head = bigger, 0
}
