package signal

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A goroutine that waits sees every change, however changes and waits meet.
func TestBroadcastLosesNoChange(t *testing.T) {
	var b Broadcast
	var n atomic.Int64
	var waiters sync.WaitGroup
	const changes = 2000
	for range 4 {
		waiters.Go(func() {
			for want := int64(1); want <= changes; want++ {
				if err := b.Wait(t.Context(), func() bool { return n.Load() >= want }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range changes {
		n.Add(1)
		b.Notify()
	}
	waiters.Wait()
	if got := b.waiting.Load(); got != 0 {
		t.Errorf("%d are counted as waiting, want 0", got)
	}
}

func TestBroadcastWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Broadcast
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		var asked atomic.Int32
		go func() { result <- b.Wait(ctx, func() bool { asked.Add(1); return false }) }()
		for want := int32(1); want <= 3; want++ {
			synctest.Wait()
			if got := asked.Load(); got != want {
				t.Errorf("the condition was looked at %d times, want %d", got, want)
			}
			b.Notify()
		}
		synctest.Wait()
		cancel(gone)
		if err := <-result; !errors.Is(err, gone) {
			t.Errorf("%v", err)
		}
	})
}

// Wait looks at its condition before it looks at its context.
func TestBroadcastConditionComesFirst(t *testing.T) {
	var b Broadcast
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Wait(ctx, func() bool { return true }); err != nil {
		t.Error(err)
	}
}

func TestBroadcastChanged(t *testing.T) {
	var b Broadcast
	b.Notify() // before anybody asked
	changed, release := b.Changed()
	select {
	case <-changed:
		t.Error("changed before Notify")
	default:
	}
	b.Notify()
	<-changed
	again, releaseAgain := b.Changed()
	release()
	b.Notify()
	<-again
	releaseAgain()
	if b.Notify(); b.changed != nil {
		t.Error("a channel was made though nobody waits")
	}
}

func TestWakeup(t *testing.T) {
	w := NewWakeup()
	w.Notify()
	w.Notify()
	<-w
	select {
	case <-w:
		t.Error("two calls of Notify are read twice")
	default:
	}
	w.Notify()
	w.Clear()
	w.Clear()
	select {
	case <-w:
		t.Error("read after Clear")
	default:
	}
}
