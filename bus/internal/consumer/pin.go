package consumer

// Pin keeps a lease from being released: state is kept for it that is to be saved first.
type Pin struct{ lease *lease }

// Pin pins the lease of an event that is being handled. Unpin must follow.
func (e *Event) Pin() Pin {
	l := e.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned++
	return Pin{l}
}

// Unpin lets go of the lease. It must be called once; of the zero Pin it does nothing.
func (p Pin) Unpin() {
	if p.lease == nil {
		return
	}
	l := p.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned--
	l.changedLocked()
}

// Holds reports whether it is the lease of e that is pinned.
func (p Pin) Holds(e *Event) bool { return p.lease == e.lease }

// Over reports whether the lease has ended, or is being given back.
func (p Pin) Over() bool { return p.lease != nil && p.lease.state.Load() != leaseLive }

// Lost reports whether the lease was lost: others may have its events by now.
func (p Pin) Lost() bool { return p.lease != nil && p.lease.state.Load() == leaseLost }
