package sinks_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// recorder notes the calls of a sink.
type recorder struct {
	mu    sync.Mutex
	calls []string
	block chan struct{} // not nil: Wake waits for it
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *recorder) Assign(l transport.Lease, _ transport.LeaseState) { r.note("assign %d", l.Fence) }
func (r *recorder) Revoke(l transport.Lease, by time.Duration)       { r.note("revoke %d %v", l.Fence, by) }
func (r *recorder) Lost(l transport.Lease, err error)                { r.note("lost %d %v", l.Fence, err) }
func (r *recorder) Gap(g transport.Gap)                              { r.note("gap %d", g.Count) }
func (r *recorder) Wake(l transport.Lease) {
	if r.block != nil {
		<-r.block
	}
	r.note("wake %d", l.Fence)
}

func always() bool { return true }

func lease(n uint64) transport.Lease { return transport.Lease{Fence: n} }

func (r *recorder) want(t *testing.T, calls ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.calls, calls) {
		t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(r.calls, "\n"), strings.Join(calls, "\n"))
	}
}

// TestOrder: calls come in order, wakes once.
func TestOrder(t *testing.T) {
	d, r := sinks.NewDispatcher(), &recorder{}
	q := d.Queue(r)
	q.Assign(lease(1), transport.LeaseState{})
	for range 3 {
		q.Wake(lease(1))
	}
	q.Gap(transport.Gap{Count: 7})
	q.Revoke(lease(1), time.Second)
	r.want(t)
	<-d.Ready()
	d.Deliver(always)
	r.want(t, "assign 1", "wake 1", "gap 7", "revoke 1 1s")
	q.Wake(lease(1))
	d.Deliver(always)
	r.want(t, "assign 1", "wake 1", "gap 7", "revoke 1 1s", "wake 1")
}

// TestLost: no Wake comes behind Lost, and it is told when the sink knows.
func TestLost(t *testing.T) {
	d, r := sinks.NewDispatcher(), &recorder{}
	q := d.Queue(r)
	q.Wake(lease(1))
	q.Wake(lease(2))
	q.Lost(lease(1), errors.New("over"), func() { r.note("known") })
	d.Deliver(always)
	r.want(t, "wake 2", "lost 1 over", "known")
}

// TestEnd: nothing is called any more, and who waits for a sink to know goes on.
func TestEnd(t *testing.T) {
	d, r := sinks.NewDispatcher(), &recorder{}
	q := d.Queue(r)
	q.Wake(lease(1))
	q.Lost(lease(2), nil, func() { r.note("known") })
	q.End()
	q.Assign(lease(3), transport.LeaseState{})
	q.Lost(lease(3), nil, func() { r.note("known too") })
	d.Deliver(always)
	r.want(t, "known", "known too")
}

// TestStop: what was not called when Deliver had to stop is called by the next.
func TestStop(t *testing.T) {
	d, r := sinks.NewDispatcher(), &recorder{}
	q := d.Queue(r)
	q.Wake(lease(1))
	q.Wake(lease(2))
	left := 2 // one for Deliver, one for the queue
	d.Deliver(func() bool { left--; return left >= 0 })
	r.want(t, "wake 1")
	<-d.Ready()
	d.Deliver(always)
	r.want(t, "wake 1", "wake 2")
}

// TestReleaseWaits: Release returns when a call that is under way has ended, and drops the others.
func TestReleaseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, r := sinks.NewDispatcher(), &recorder{block: make(chan struct{})}
		q := d.Queue(r)
		q.Wake(lease(1))
		var running sync.WaitGroup
		running.Go(func() { d.Deliver(always) })
		synctest.Wait() // it is in Wake
		q.Wake(lease(1))
		q.Wake(lease(2))
		running.Go(func() {
			q.Release(lease(1))
			r.note("released")
		})
		close(r.block)
		running.Wait()
		i, j := slices.Index(r.calls, "wake 1"), slices.Index(r.calls, "released")
		if i < 0 || j < i || slices.Contains(r.calls[j:], "wake 1") || !slices.Contains(r.calls, "wake 2") {
			t.Errorf("%v", r.calls)
		}
	})
}

// TestConcurrent: many queues, one dispatcher, nothing is left behind.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := sinks.NewDispatcher()
		stop := make(chan struct{})
		var serving sync.WaitGroup
		serving.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-d.Ready():
					d.Deliver(always)
				}
			}
		})
		var adding sync.WaitGroup
		recorders := make([]*recorder, 20)
		for i := range recorders {
			recorders[i] = &recorder{}
			q := d.Queue(recorders[i])
			adding.Go(func() {
				for n := range uint64(100) {
					q.Assign(lease(n), transport.LeaseState{})
				}
			})
		}
		adding.Wait()
		synctest.Wait()
		close(stop)
		serving.Wait()
		for i, r := range recorders {
			if len(r.calls) != 100 {
				t.Errorf("sink %d: %d calls", i, len(r.calls))
			}
		}
	})
}
