package bus

import "context"

// leave takes s out of the fan-out, at the transport too if s is the topic's last.
// missed is what Drain waited for in vain.
func (s *subscription[T]) leave(ctx context.Context) (missed []Gap, err error) {
	link := s.fan.link
	switch {
	case s.info.durable:
		return nil, s.fan.feeds.leave(ctx, s)
	case link == nil:
		s.remove()
		return nil, nil
	}
	if err := link.begin(ctx); err != nil {
		if s.leaveNow() {
			missed = s.missed()
		}
		return missed, err
	}
	defer link.end()
	left, was := s.remove()
	if was {
		missed = s.missed()
	}
	if left > 0 || !was {
		return missed, nil
	}
	return missed, link.transport.Unsubscribe(ctx, s.info.address())
}

// remove takes s out of the topic's fan-out; it reports how many are left there
// and whether s was.
func (s *subscription[T]) remove() (left int, was bool) {
	s.host.remember(&s.Subscription)
	left, was = s.fan.remove(s)
	if !was { // whoever took it out remembered it, and it may have ended since
		if s.hasEnded() {
			s.host.forget(&s.Subscription)
		}
	}
	return left, was
}

// leaveNow takes s out of the fan-out without waiting for the transport: the bus
// unsubscribes in its own time.
func (s *subscription[T]) leaveNow() (was bool) {
	left, was := s.remove()
	if s.info.durable {
		s.fan.feeds.leftNow(s)
	}
	if was && left == 0 && s.fan.link != nil {
		s.core.goroutines.cleanup(s.fan.unsubscribeUnused)
	}
	return was
}

// unsubscribeUnused tells the transport when the topic has no subscription
// left.
func (fan *fanout[T]) unsubscribeUnused(ctx context.Context) error {
	if err := fan.link.beginNow(ctx); err != nil { // see Bus.end
		return err
	}
	defer fan.link.end()
	fan.mu.Lock()
	total := fan.mu.total
	fan.mu.Unlock()
	if total > 0 || fan.link.removed { // another topic may have the name by now
		return nil
	}
	return fan.link.transport.Unsubscribe(ctx, fan.info.address())
}
