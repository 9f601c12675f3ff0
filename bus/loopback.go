package bus

import (
	"math"
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

// missing is what of those marks, a number for each partition, has not come back and was not told.
func (lb *loopback) missing(info *topicInfo, marks []uint64) []Gap {
	if !lb.live {
		return nil
	}
	return lb.gaps(info, func(partition int) uint64 {
		if partition < len(marks) {
			return marks[partition]
		}
		return 0
	})
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

func reportAll(subs []*Subscription, gaps []Gap) {
	for _, s := range subs {
		for _, g := range gaps {
			s.reportGap(g)
		}
	}
}

// unsubscribed notes that nobody listens any more. The caller has the lock.
func (lb *loopback) unsubscribed() {
	if !lb.closed {
		lb.live, lb.partitions = false, nil
	}
}
