package bus

// holdBack has the subscription start no handler until Start, if the bus is held. It is called before
// s is live.
func (s *Subscription) holdBack() {
	if s.core.state.Load() == stateHeld {
		s.ctl.Or(ctlHeld)
	}
}

// releaseIfStarted is called once s is live: a Start that ended in between did not see it.
func (s *Subscription) releaseIfStarted() {
	if s.ctl.Load()&ctlHeld != 0 && s.core.state.Load() != stateHeld {
		s.release()
	}
}

// release ends holdBack.
func (s *Subscription) release() {
	if s.ctl.And(^ctlHeld)&ctlHeld != 0 {
		s.engine.signalLanes()
	}
}
