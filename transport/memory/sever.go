package memory

import (
	"context"
	"sync"
)

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
	defer t.gate.Unlock()
	t.cuts.Add(1)
	return sync.OnceFunc(t.mend)
}

func (t *Transport) mend() {
	t.gate.Lock()
	t.cuts.Add(-1)
	t.gate.Unlock()
	t.changes.Notify()
	t.confess()
}

// connected waits while the transport is severed.
func (t *Transport) connected(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t.cuts.Load() == 0 {
		return nil
	}
	return t.changes.Wait(ctx, func() bool { return t.cuts.Load() == 0 })
}
