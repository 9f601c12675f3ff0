package mailbox_test

import (
	"runtime"
	"testing"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queue is a log with a single reader, as a lane with its own mailbox has it.
type queue[C any] struct {
	log *mailbox.Shared[C]
	mailbox.Reader[C]
}

func newQueue[C any](hasPointers bool) *queue[C] {
	q := &queue[C]{log: mailbox.NewShared[C](0)}
	q.Join(q.log, hasPointers)
	return q
}

// full tells whether capacity items wait, and finds room if not.
func (q *queue[C]) full(capacity int) bool {
	return !q.log.Free() && !q.log.Grow(q.Taken(), q.Taken()+uint64(capacity))
}

// model is what a reader of a log shall see.
type model struct {
	reader  *mailbox.Reader[int]
	cap     int
	own     *mailbox.Shared[int] // after it left for a log of its own
	left    bool
	waiting []int // committed or not
	shown   int   // of waiting, those committed
	taken   uint64
	running bool
	held    *int // the item being handled, and what it was
	was     int
}

// A log and its readers against slices: whatever the order of puts, commits,
// takes, idles, joins, detaches and reclaims, every reader gets every item from its
// joining on once, in order, as long as it is handled the item stays what it is,
// and counts agree.
func TestLogMatchesSlices(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shared := mailbox.NewShared[int](0)
		var readers []*model
		common := func() (n int) {
			for _, m := range readers {
				if m.own == nil && !m.left {
					n++
				}
			}
			return n
		}
		forget := func(m *model) {
			if common() == 0 {
				shared = mailbox.NewShared[int](0) // as the intake does
			} else if m.reader.Done() < shared.Appended() {
				shared.StartSegment()
			}
			shared.SetSoleReader(common() == 1)
		}
		commit := func() {
			shared.Commit()
			for _, m := range readers {
				if m.own != nil {
					m.own.Commit()
				}
				m.shown = len(m.waiting)
			}
		}
		next := 1
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			var m *model
			if len(readers) > 0 {
				m = readers[rapid.IntRange(0, len(readers)-1).Draw(t, "reader")]
			}
			op := rapid.IntRange(0, 15).Draw(t, "op")
			switch {
			case op == 0 && common() < 4 || m == nil:
				m = &model{reader: new(mailbox.Reader[int]), cap: rapid.SampledFrom([]int{1, 3, 20, 100}).Draw(t, "capacity")}
				m.reader.Join(shared, rapid.Bool().Draw(t, "keeps"))
				m.taken = shared.Appended()
				readers = append(readers, m)
				shared.SetSoleReader(common() == 1)
			case op == 1 && m.own == nil && !m.left:
				commit() // the owner's lock is never given back without
				if rapid.Bool().Draw(t, "private") {
					m.own = m.reader.Detach(true)
				} else {
					m.reader.Detach(false)
					m.left = true
				}
				forget(m)
			case op == 15 && m.own != nil && m.taken == m.own.Appended() && common() < 4:
				m.reader.Idle()
				m.running, m.held = false, nil
				m.reader.Reattach(shared)
				m.own, m.taken = nil, shared.Appended()
				shared.SetSoleReader(common() == 1)
			case op <= 5: // a burst to all who share the log, or to one with its own
				to, dst := []*model{m}, m.own
				if m.own == nil {
					to, dst = nil, shared
					for _, other := range readers {
						if other.own == nil && !other.left {
							to = append(to, other)
						}
					}
				}
				if len(to) == 0 {
					break
				}
				burst(t, dst, to, &next)
			case op <= 7:
				commit()
			case op <= 10:
				for range rapid.IntRange(1, 40).Draw(t, "takes") {
					m.take(t)
				}
			case op == 11:
				m.reader.Idle()
				m.running, m.held = false, nil
			case op <= 13:
				m.takeInRow(t, rapid.IntRange(1, 40).Draw(t, "takes"))
			default:
				done := shared.Appended()
				for _, m := range readers {
					if m.own == nil && !m.left {
						done = min(done, m.reader.Done())
					}
				}
				if common() > 1 {
					shared.Reclaim(done)
				}
			}
			for _, m := range readers {
				m.check(t)
			}
		}
	})
}

// burst puts items while there is room, one by one or in place.
func burst(t *rapid.T, shared *mailbox.Shared[int], to []*model, next *int) {
	for n := rapid.IntRange(1, 60).Draw(t, "burst"); n > 0; {
		taken, room := ^uint64(0), ^uint64(0)
		full := false
		for _, m := range to {
			taken = min(taken, m.reader.Taken())
			room = min(room, m.reader.Taken()+uint64(m.cap))
			full = full || len(m.waiting) >= m.cap
		}
		if free := shared.Free() || shared.Grow(taken, room); free == full {
			t.Fatalf("room for more: %v, and somebody is full: %v", free, full)
		}
		if full {
			return
		}
		var cells []int
		if rapid.Bool().Draw(t, "in place") {
			cells = shared.Slots(n)
			for i := range cells {
				cells[i] = *next + i
			}
		} else {
			v := *next
			shared.Append(&v)
			cells = []int{v}
		}
		for _, m := range to {
			for i := range cells {
				m.waiting = append(m.waiting, *next+i)
			}
		}
		*next += len(cells)
		n -= len(cells)
	}
}

func (m *model) take(t *rapid.T) {
	c := m.reader.Next()
	if m.shown == 0 {
		if c != nil {
			t.Fatalf("Next = %d from an empty queue", *c)
		}
		m.held = nil
		return
	}
	if c == nil || *c != m.waiting[0] {
		t.Fatalf("Next = %v, want %d", c, m.waiting[0])
	}
	m.held, m.was = c, *c
	m.waiting = m.waiting[1:]
	m.shown--
	m.taken++
	m.running = true
}

// takeInRow takes up to n items by Batch, Take and Clear.
func (m *model) takeInRow(t *rapid.T, n int) {
	cells := m.reader.Batch()
	m.held = nil
	if len(cells) > m.shown || len(cells) == 0 && m.shown > 0 {
		t.Fatalf("%d items ahead, with %d committed", len(cells), m.shown)
	}
	for i := range cells[:min(n, len(cells))] {
		m.reader.Clear() // of the one before; a second time is as good as once
		if got := cells[i]; got != m.waiting[0] {
			t.Fatalf("the next item is %d, want %d", got, m.waiting[0])
		}
		m.taken++
		m.waiting = m.waiting[1:]
		m.shown--
		m.held, m.was, m.running = &cells[i], cells[i], true
		if got := m.reader.Take(); got != m.taken {
			t.Fatalf("Take = %d, want %d", got, m.taken)
		}
		m.check(t)
		if rapid.Bool().Draw(t, "clear") {
			m.held = nil
			m.reader.Clear()
		}
	}
}

func (m *model) check(t *rapid.T) {
	if m.held != nil && *m.held != m.was {
		t.Fatalf("the item being handled was %d and is %d", m.was, *m.held)
	}
	if got := m.reader.End() - m.reader.Taken(); got != uint64(len(m.waiting)) {
		t.Fatalf("%d wait, want %d", got, len(m.waiting))
	}
	if n, r := m.reader.Cursor(); n != m.taken || r != m.running {
		t.Fatalf("Cursor = %d %v, want %d %v", n, r, m.taken, m.running)
	}
	if m.reader.Ready() != (m.shown > 0) {
		t.Fatalf("Ready = %v with %d committed", m.reader.Ready(), m.shown)
	}
}

// One writer, several readers that join and leave while it goes on.
func TestLogBetweenGoroutines(t *testing.T) {
	const n, capacity, readers = 60_000, 100, 3
	shared := mailbox.NewShared[[2]int](0)
	rs := make([]*mailbox.Reader[[2]int], readers)
	done := make(chan struct{}, readers)
	for i := range rs {
		rs[i] = new(mailbox.Reader[[2]int])
		rs[i].Join(shared, true)
	}
	shared.SetSoleReader(false)
	for i, r := range rs {
		upTo := n
		if i == 0 {
			upTo = n / 2 // leaves then
		}
		go func() {
			defer func() { done <- struct{}{} }()
			for want := 0; want < upTo; {
				c := r.Next()
				if c == nil {
					r.Idle()
					runtime.Gosched()
					continue
				}
				if c[0] != want || c[1] != -want {
					t.Errorf("item %d is %v", want, *c)
					return
				}
				want++
			}
			r.Idle()
			if i == 0 && r.Next() != nil {
				t.Error("an item after the reader has left")
			}
		}()
	}
	for i := range n {
		if i == n/2 {
			rs[0].Detach(false)
			rs = rs[1:]
			shared.StartSegment()
		}
		for !shared.Free() {
			taken := rs[0].Taken()
			for _, r := range rs {
				taken = min(taken, r.Taken())
			}
			if !shared.Grow(taken, taken+capacity) {
				shared.Commit()
				runtime.Gosched()
			}
		}
		v := [2]int{i, -i}
		shared.Append(&v)
		if i%3 == 0 || i == n-1 {
			shared.Commit()
		}
	}
	for range readers {
		<-done
	}
}

// A steady flow below the largest backlog seen allocates nothing.
func TestLogSteadyStateDoesNotAllocate(t *testing.T) {
	q := newQueue[int](true)
	cycle := func() {
		for i := range 1000 {
			if q.full(1000) {
				t.Fatal("full")
			}
			q.log.Append(&i)
		}
		q.log.Commit()
		for q.Next() != nil {
		}
		q.Idle()
	}
	for range 10 {
		cycle()
	}
	if a := testing.AllocsPerRun(100, cycle); a != 0 {
		t.Errorf("%.1f allocations a cycle", a)
	}
}

// What was handled can be collected: a lone reader clears cells as it goes, those
// of many are swept.
func TestLogKeepsNoValueAlive(t *testing.T) {
	for _, common := range []bool{false, true} {
		const n = 20
		q := newQueue[*[1 << 10]byte](true)
		var other mailbox.Reader[*[1 << 10]byte]
		if common {
			other.Join(q.log, true)
			q.log.SetSoleReader(false)
		}
		collected := make(chan struct{}, n)
		for range n {
			v := new([1 << 10]byte)
			runtime.AddCleanup(v, func(struct{}) { collected <- struct{}{} }, struct{}{})
			if q.full(n) {
				t.Fatal("full")
			}
			q.log.Append(&v)
		}
		q.log.Commit()
		for q.Next() != nil {
		}
		q.Idle()
		if common != q.Shared() {
			t.Errorf("Shared is %v", q.Shared())
		}
		if common {
			for other.Next() != nil {
			}
			other.Idle()
			q.log.Reclaim(q.log.Appended())
		}
		for len(collected) < n {
			runtime.GC()
			runtime.Gosched()
		}
		runtime.KeepAlive(&q)
	}
}
