package bus

import (
	"context"
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// This file is how the fan-out keeps its loopback.

// beginSend admits a Publish through the transport. endSend, with what it returns, must follow.
func (fan *fanout[T]) beginSend(ctx context.Context) (epoch uint64, err error) {
	if ctx == nil {
		return 0, ErrNilContext
	}
	p := caller{ctx: ctx}
	fan.mu.Lock()
	for fan.refuses(&p) {
		fan.mu.Unlock()
		if err := fan.admit(&p); err != nil {
			return 0, err
		}
		fan.mu.Lock()
	}
	defer fan.mu.Unlock()
	lb := fan.loopback
	lb.publishing++
	if lb.live {
		return lb.epoch, nil
	}
	return 0, nil
}

// endSend notes what became of a Publish. Of what was accepted, that comes back which was published
// while the topic was subscribed: of what was on its way when Subscribe returned nobody knows.
func (fan *fanout[T]) endSend(epoch uint64, partitions []int, results []transport.Result) {
	fan.mu.Lock()
	lb := fan.loopback
	lb.publishing--
	var gaps []Gap
	if epoch != 0 && epoch == lb.epoch && lb.live {
		for i, r := range results {
			lb.sent(partitions[i], r)
		}
		if lb.closed {
			gaps = lb.close(fan.info)
		}
	}
	subs := lb.last
	fan.mu.Unlock()
	fan.core.changes.Notify()
	reportAll(subs, gaps)
}

// subscribed notes that the topic is live at the transport.
func (fan *fanout[T]) subscribed() {
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if lb := fan.loopback; fan.mu.total > 0 && !lb.live {
		lb.live, lb.partitions = true, nil
		lb.epoch++
	}
}

// isNews reports whether a gap off the transport is to be told: not if the bus has ended, and told
// its subscriptions itself what of its own events they did not get.
func (fan *fanout[T]) isNews(g Gap) bool {
	if g.Publisher != fan.info.publisher {
		return true
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return !fan.loopback.closed
}

// noteGapTold takes in that a gap was told.
func (fan *fanout[T]) noteGapTold(g Gap) {
	if g.Publisher != fan.info.publisher {
		return
	}
	fan.mu.Lock()
	fan.loopback.arrive(g.Partition, g.To)
	fan.mu.Unlock()
	fan.core.changes.Notify()
}

// closeLoopback tells the subscriptions what they will not get, and returns what was open when it
// was called first.
func (fan *fanout[T]) closeLoopback() leftOver {
	if fan.feeds != nil {
		fan.mu.Lock()
		defer fan.mu.Unlock()
		return leftOver{calls: fan.feeds.publishingLocked()}
	}
	if fan.loopback == nil {
		return leftOver{}
	}
	fan.mu.Lock()
	lb := fan.loopback
	if lb.closed {
		defer fan.mu.Unlock()
		return lb.left
	}
	for s := range fan.allLocked() {
		lb.last = append(lb.last, &s.Subscription)
	}
	gaps := lb.close(fan.info)
	lb.left.calls = lb.publishing
	for _, g := range gaps {
		lb.left.events += g.Count
	}
	subs, left := lb.last, lb.left
	fan.mu.Unlock()
	reportAll(subs, gaps)
	return left
}

// catchUp waits until the subscription has what this bus's publishers were told is accepted before
// the call. What it has not got by then, it is told when it leaves.
func (s *subscription[T]) catchUp(ctx context.Context) error {
	fan := s.fan
	fan.mu.Lock()
	lb := fan.loopback
	epoch := lb.epoch
	marks := make([]uint64, len(lb.partitions))
	for i := range lb.partitions {
		marks[i] = lb.partitions[i].accepted
	}
	if s.awaited == nil {
		s.awaited = new(awaited)
	}
	s.awaited.marks = marks
	fan.mu.Unlock()
	var late uint64
	done := func() bool {
		fan.mu.Lock()
		defer fan.mu.Unlock()
		late = 0
		if !lb.live || lb.epoch != epoch || s.ctl.Load()&ctlLeft != 0 && !lb.closed {
			return true
		}
		for i, mark := range marks {
			if from, to := lb.partitions[i].late(mark); from <= to {
				late += to - from + 1
			}
		}
		return late == 0 || lb.closed || fan.core.transportGone.Load()
	}
	err := s.core.changes.Wait(ctx, done)
	if err != nil && done() && late == 0 { // what came by now came in time
		err = nil
	}
	if err == nil && late > 0 {
		err = ErrClosed
	}
	if err != nil {
		return fmt.Errorf("%w: %d published events had not come back from the transport", err, late)
	}
	return nil
}
