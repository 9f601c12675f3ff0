// Package signal wakes goroutines that wait.
package signal

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/internal/errguard"
)

// Broadcast wakes all goroutines that wait for a condition which a change may have made true. The
// zero value is ready for use. A Broadcast must not be copied.
type Broadcast struct {
	waiting atomic.Int32
	mu      sync.Mutex    // no other lock is taken under it
	changed chan struct{} // closed by the next Notify; nil if nobody asked for it; guarded by mu
}

// Notify wakes everyone who waits: something changed. It costs one atomic read while nobody waits,
// and never blocks. Call it after the change is visible to others.
func (b *Broadcast) Notify() {
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}

// Wait returns nil as soon as cond is true, or the cause of ctx's end. It calls cond first, and
// again after each Notify. cond may take locks, but must not call Wait.
func (b *Broadcast) Wait(ctx context.Context, cond func() bool) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		changed := b.next()
		if cond() { // after next: a change that comes later closes changed
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errguard.Safe(context.Cause(ctx))
		}
	}
}

// Changed returns a channel that the next Notify closes, for a goroutine that waits for more than
// one thing. Ask for it before you look at the condition. Call release once, when nobody reads the
// channel any more.
func (b *Broadcast) Changed() (changed <-chan struct{}, release func()) {
	b.waiting.Add(1)
	return b.next(), func() { b.waiting.Add(-1) }
}

// next is the channel that the next Notify closes. waiting must count the caller.
func (b *Broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}
