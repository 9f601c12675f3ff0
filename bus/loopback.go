package bus

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// loopback is what this bus published on a topic through its transport and what of that has come
// back: the topic's own subscriptions get it off the transport, a moment after Publish returned.
// Shutdown and Drain wait for it. The fan-out's lock covers it.
type loopback struct {
	live       bool            // the topic is subscribed: what is published from now on comes back
	closed     bool            // the bus has ended: nothing comes back any more
	epoch      uint64          // how many times it became live
	publishing int             // calls of Publish that have not returned
	partitions []loopbackPart  // by partition, as far as there was anything
	last       []*Subscription // with closed: those that there were
	left       leftOver        // with closed: what was open then
}

// leftOver is what was open when the bus ended.
type leftOver struct {
	events uint64 // published, and not come back
	calls  int    // of Publish that had not returned
}

// loopbackPart is that of one partition. A transport tells of a publisher's numbers in their order,
// each by Deliver or by Gap, so that the highest says it all.
type loopbackPart struct {
	first    uint64 // the lowest number that was accepted since it is live; 0: none
	accepted uint64 // the highest
	arrived  uint64 // the highest that has come back, as an event or in a gap
	told     uint64 // what has not, up to here, was reported to every subscription
	unsure   bool   // above arrived may be a number whose Publish failed
}

// late is the stretch up to a number that has not come back; none if from > to.
func (p *loopbackPart) late(upTo uint64) (from, to uint64) {
	return max(p.first, p.arrived+1), min(p.accepted, upTo)
}

// busy reports whether anything is to be waited for; gone says that nothing comes back any more.
func (lb *loopback) busy(gone bool) bool {
	if lb.closed {
		return false
	}
	if lb.publishing > 0 || gone {
		return lb.publishing > 0
	}
	for i := range lb.partitions {
		if p := &lb.partitions[i]; p.accepted > p.arrived {
			return true
		}
	}
	return false
}

// part is that of a partition, made if need be.
func (lb *loopback) part(partition int) *loopbackPart {
	if n := partition + 1 - len(lb.partitions); n > 0 {
		lb.partitions = append(lb.partitions, make([]loopbackPart, n)...)
	}
	return &lb.partitions[partition]
}

// arrive notes that a number of this bus, and so all below, has come back.
func (lb *loopback) arrive(partition int, seq uint64) {
	if !lb.live || seq == 0 || partition < 0 {
		return
	}
	p := lb.part(partition)
	p.arrived = max(p.arrived, seq)
	p.unsure = p.unsure && p.arrived < p.accepted
}

// sent notes what became of an event that was published while the topic was subscribed.
func (lb *loopback) sent(partition int, r transport.Result) {
	switch p := lb.part(partition); {
	case r.Err != nil:
		p.unsure = p.unsure || p.accepted > p.arrived
	case r.Seq > 0: // else the transport does not say
		if p.first == 0 || r.Seq < p.first {
			p.first = r.Seq
		}
		p.accepted = max(p.accepted, r.Seq)
	}
}

// gaps are the stretches that have not come back and were not told, up to a number for each
// partition.
func (lb *loopback) gaps(info *topicInfo, upTo func(partition int) uint64) (gaps []Gap) {
	for i := range lb.partitions {
		p := &lb.partitions[i]
		from, to := p.late(upTo(i))
		if from = max(from, p.told+1); from > to {
			continue
		}
		kind := transport.Lost
		if p.unsure {
			kind = transport.Uncertain
		}
		gaps = append(gaps, Gap{
			Topic: info.name, Partition: i, Publisher: info.publisher, From: from, To: to, Count: to - from + 1,
			Since: time.Now(), Kind: kind, Reason: transport.Ended,
		})
	}
	return gaps
}

// close is for when nothing comes back any more, and each time something was sent all the same. It
// returns what is to be told to every subscription.
func (lb *loopback) close(info *topicInfo) []Gap {
	lb.closed = true
	gaps := lb.gaps(info, func(int) uint64 { return math.MaxUint64 })
	for _, g := range gaps {
		lb.partitions[g.Partition].told = g.To
	}
	return gaps
}

// beginSend admits a Publish through the transport. endSend, with what it returns, must follow.
func (fan *fanout[T]) beginSend(ctx context.Context) (epoch uint64, err error) {
	if ctx == nil {
		return 0, ErrNilContext
	}
	p := caller{ctx: ctx}
	fan.mu.Lock()
	for p.refusedBy(fan.core) {
		fan.mu.Unlock()
		if err := p.admit(fan.core); err != nil {
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

func reportAll(subs []*Subscription, gaps []Gap) {
	for _, s := range subs {
		for _, g := range gaps {
			s.reportGap(g)
		}
	}
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

// unsubscribed notes that nobody listens any more. The caller has the lock.
func (lb *loopback) unsubscribed() {
	if !lb.closed {
		lb.live, lb.partitions = false, nil
	}
}

// isNews reports whether a gap off the transport is to be told: not if the bus has ended, and told
// its subscriptions itself what of its own events they did not get.
func (fan *fanout[T]) isNews(g Gap) bool {
	if g.Publisher != fan.core.id {
		return true
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return !fan.loopback.closed
}

// noteGapTold takes in that a gap was told.
func (fan *fanout[T]) noteGapTold(g Gap) {
	if g.Publisher != fan.core.id {
		return
	}
	fan.mu.Lock()
	fan.loopback.arrive(g.Partition, g.To)
	fan.mu.Unlock()
	fan.core.changes.Notify()
}

// closeLoopback tells the subscriptions what they will not get, and returns what was open when it
// was called first.
func (t *Topic[T]) closeLoopback() leftOver {
	fan := &t.fanout
	fan.mu.Lock()
	lb := fan.loopback
	if lb.closed {
		defer fan.mu.Unlock()
		return lb.left
	}
	for s := range fan.allLocked() {
		lb.last = append(lb.last, &s.Subscription)
	}
	gaps := lb.close(t.info)
	lb.left.calls = lb.publishing
	for _, g := range gaps {
		lb.left.events += g.Count
	}
	subs, left := lb.last, lb.left
	fan.mu.Unlock()
	reportAll(subs, gaps)
	return left
}

// closeLoopbacks has every topic tell what of this bus's own events was on its way. It returns
// in words what was open when the bus ended; empty if there was nothing.
func (b *Bus) closeLoopbacks() (left string) {
	if b.transport == nil {
		return ""
	}
	var events, calls []string
	var total leftOver
	for _, t := range b.allTopics() {
		l := t.closeLoopback()
		total.events, total.calls = total.events+l.events, total.calls+l.calls
		if l.events > 0 {
			events = append(events, fmt.Sprintf("%s %d", t.topicInfo().name, l.events))
		}
		if l.calls > 0 {
			calls = append(calls, fmt.Sprintf("%s %d", t.topicInfo().name, l.calls))
		}
	}
	var parts []string
	if total.events > 0 {
		parts = append(parts, fmt.Sprintf("%d published events had not come back from the transport: %s", total.events, strings.Join(events, ", ")))
	}
	if total.calls > 0 {
		parts = append(parts, fmt.Sprintf("%d calls of Publish had not returned: %s", total.calls, strings.Join(calls, ", ")))
	}
	return strings.Join(parts, "; ")
}

// catchUp waits until the subscription has what this bus's publishers were told is accepted before
// the call. What it has not got by then, it is told when it leaves.
func (s *subscription[T]) catchUp(ctx context.Context) error {
	fan := &s.topic.fanout
	fan.mu.Lock()
	lb := fan.loopback
	epoch := lb.epoch
	marks := make([]uint64, len(lb.partitions))
	for i := range lb.partitions {
		marks[i] = lb.partitions[i].accepted
	}
	s.marks = marks
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
	err := s.bus.changes.Wait(ctx, done)
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

// leftBehindLocked notes, as the subscription leaves, what Drain waited for in vain.
func (s *subscription[T]) leftBehindLocked(lb *loopback) {
	if s.marks == nil || !lb.live {
		return
	}
	s.missed = lb.gaps(s.info, func(partition int) uint64 {
		if partition < len(s.marks) {
			return s.marks[partition]
		}
		return 0
	})
}
