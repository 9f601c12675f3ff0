package memory

import (
	"context"
	"sync"
)

// cable is what connects a transport to its broker, while it is cut.
type cable struct {
	cuts   int           // how many Severs are not mended
	mended chan struct{} // closed when none is left
}

// Sever cuts the transport off from its broker, as a broken network would, until mend is called; it
// is for tests. Meanwhile Publish and Subscribe wait, as long as their contexts allow, and nothing
// that others publish reaches the bus. Before mend returns it reports that in gaps, Lost and
// Disconnected, and by then every subscription is live again. A Publish that began before may still
// be accepted.
//
// A transport that was severed more than once is cut off until each mend was called. To call one
// again does nothing.
func (t *Transport) Sever() (mend func()) {
	t.gate.Lock()
	c := &cable{cuts: 1, mended: make(chan struct{})}
	if have := t.cable.Load(); have != nil {
		c.cuts, c.mended = have.cuts+1, have.mended
	}
	t.cable.Store(c)
	t.gate.Unlock()
	return sync.OnceFunc(t.mend)
}

func (t *Transport) mend() {
	t.gate.Lock()
	c := *t.cable.Load()
	c.cuts--
	if c.cuts > 0 {
		t.cable.Store(&c)
	} else {
		t.cable.Store(nil)
		close(c.mended)
	}
	t.gate.Unlock()
	t.confess()
}

// connected waits while the transport is severed.
func (t *Transport) connected(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c := t.cable.Load()
		if c == nil {
			return nil
		}
		select {
		case <-c.mended:
		case <-ctx.Done():
		}
	}
}
