package logtest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// calls numbers the calls of all recorders, so that they have an order.
var calls atomic.Uint64

// recorder is a sink that keeps what it is told, and what is wrong with the order of it.
type recorder struct {
	mu sync.Mutex
	// mu guards what follows.
	leases  []*assigned // that live
	past    []*assigned
	gaps    []transport.Gap
	texts   []string
	faults  []string
	ended   bool
	changed chan struct{} // closed, and replaced, by every call
}

// assigned is a lease that was assigned.
type assigned struct {
	transport.Lease
	state   transport.LeaseState
	began   uint64 // number of the call
	ended   uint64 // number of the call that ended it; 0 while it lives
	revoked time.Duration
	lost    error
	wakes   int
	leaving bool // Release was called
}

func newRecorder() *recorder { return &recorder{changed: make(chan struct{})} }

func (r *recorder) called(format string, args ...any) {
	if r.ended {
		r.faults = append(r.faults, "called after Close has returned: "+fmt.Sprintf(format, args...))
	}
	r.texts = append(r.texts, fmt.Sprintf(format, args...))
	close(r.changed)
	r.changed = make(chan struct{})
}

// Assign keeps the lease.
func (r *recorder) Assign(l transport.Lease, st transport.LeaseState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.leases {
		if !a.leaving && a.Partition == l.Partition && overlap(a.Lease, l) {
			r.faults = append(r.faults, fmt.Sprintf("%+v is assigned while %+v lives", l, a.Lease))
		}
	}
	for _, a := range append(r.past, r.leases...) {
		if a.Partition == l.Partition && a.Fence >= l.Fence {
			r.faults = append(r.faults, fmt.Sprintf("%+v is assigned after %+v", l, a.Lease))
		}
	}
	r.leases = append(r.leases, &assigned{Lease: l, state: st, began: calls.Add(1)})
	r.called("assign %+v %+v", l, st)
}

func overlap(a, b transport.Lease) bool {
	return a.Whole() || b.Whole() || a.From < b.To && b.From < a.To
}

func (r *recorder) find(l transport.Lease) *assigned {
	for _, a := range r.leases {
		if a.Lease == l {
			return a
		}
	}
	return nil
}

// Revoke notes the wish.
func (r *recorder) Revoke(l transport.Lease, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.find(l); a != nil {
		a.revoked = by
	} else {
		r.faults = append(r.faults, fmt.Sprintf("%+v is revoked and does not live", l))
	}
	r.called("revoke %+v within %v", l, by)
}

// Lost ends the lease.
func (r *recorder) Lost(l transport.Lease, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.find(l); a != nil {
		r.endLocked(a)
		a.lost = err
	} else {
		r.faults = append(r.faults, fmt.Sprintf("%+v is lost and does not live", l))
	}
	r.called("lost %+v: %v", l, err)
}

// Wake counts.
func (r *recorder) Wake(l transport.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.find(l); a != nil {
		a.wakes++
	} else {
		r.faults = append(r.faults, fmt.Sprintf("a wake of %+v, which does not live", l))
	}
	r.called("wake %+v", l)
}

// Gap keeps the gap.
func (r *recorder) Gap(g transport.Gap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gaps = append(r.gaps, g)
	r.called("gap %v", g)
}

func (r *recorder) endLocked(a *assigned) {
	a.ended = calls.Add(1)
	r.past = append(r.past, a)
	for i, other := range r.leases {
		if other == a {
			r.leases = append(r.leases[:i], r.leases[i+1:]...)
			return
		}
	}
}

// releasing notes that Release is called.
func (r *recorder) releasing(l transport.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.find(l); a != nil {
		a.leaving = true
	}
}

// released notes that Release has returned.
func (r *recorder) released(l transport.Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.find(l); a != nil {
		r.endLocked(a)
	}
}

// end notes that nothing may come any more.
func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// living is a lease of a partition that lives, if there is one.
func (r *recorder) living(partition int) *assigned {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.leases {
		if a.Partition == partition && !a.leaving {
			twin := *a
			return &twin
		}
	}
	return nil
}

// all are the leases that live.
func (r *recorder) all() (leases []assigned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.leases {
		leases = append(leases, *a)
	}
	return leases
}

// history are all leases.
func (r *recorder) history() (leases []assigned) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range append(append([]*assigned(nil), r.past...), r.leases...) {
		leases = append(leases, *a)
	}
	return leases
}

// of is what became of a lease.
func (r *recorder) of(l transport.Lease) assigned {
	for _, a := range r.history() {
		if a.Lease == l {
			return a
		}
	}
	return assigned{}
}

func (r *recorder) gapsSeen() []transport.Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]transport.Gap(nil), r.gaps...)
}

// missing is how many events the gaps name.
func (r *recorder) missing() (n uint64) {
	for _, g := range r.gapsSeen() {
		n += g.Count
	}
	return n
}

func (r *recorder) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.texts...)
}

func (r *recorder) wrong() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.faults...)
}

// wait waits until cond holds, and reports whether it did within d.
func (r *recorder) wait(d time.Duration, cond func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		r.mu.Lock()
		changed := r.changed
		r.mu.Unlock()
		if cond() { // after changed was taken: a later call closes it
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return cond()
		}
	}
}

// await fails the case if cond does not become true.
func (m *member) await(want string, cond func() bool) {
	m.c.Helper()
	if !m.sink.wait(m.c.waitTimeout(), cond) {
		m.c.fatal(want, "these calls: %v", m.sink.log())
	}
}

// inOrder fails the case if the sink was called out of order.
func (m *member) inOrder() {
	m.c.Helper()
	if faults := m.sink.wrong(); len(faults) > 0 {
		m.c.wrong("calls of the sink in order", "%v; these calls: %v", faults, m.sink.log())
	}
}
