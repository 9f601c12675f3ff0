package memory

import "time"

// trimStep is how many events are trimmed before others get their turn.
const trimStep = 1000

// Between two looks at the age of events passes a hundredth of Retain.Age, within these bounds.
const (
	minAgeCheck = 10 * time.Millisecond
	maxAgeCheck = time.Minute
)

// over reports whether the oldest event is to go.
func (p *logPartition) over(now time.Time) bool {
	r := p.topic.config.Retain
	switch n := uint64(len(p.events)); {
	case n == 0:
		return false
	case r.Events > 0 && n > r.Events, r.Bytes > 0 && p.bytes > r.Bytes:
		return true
	default:
		return r.Age > 0 && now.Sub(p.events[0].at) >= r.Age
	}
}

// beyond reports whether a bound other than that of age is passed.
func (p *logPartition) beyond(now time.Time) bool {
	r := p.topic.config.Retain
	return (r.Events > 0 || r.Bytes > 0) && p.over(now)
}

// expires is when to look at the age of events again; zero: not before there are any.
func (p *logPartition) expires(now time.Time) time.Time {
	age := p.topic.config.Retain.Age
	if age == 0 || len(p.events) == 0 {
		return time.Time{}
	}
	at, soonest := p.events[0].at.Add(age), now.Add(min(max(age/100, minAgeCheck), maxAgeCheck, age))
	if at.Before(soonest) {
		return soonest
	}
	return at
}

// trimLocked trims events that are to go, and reports whether more are.
func (s *logStore) trimLocked(now time.Time) bool {
	left := trimStep
	for _, t := range s.topics {
		for _, p := range t.partitions {
			n := 0
			for left > 0 && p.over(now) {
				p.bytes -= uint64(p.events[0].envelope.Size()) //nolint:gosec // sizes are positive
				p.events[0] = logEvent{}
				p.events = p.events[1:]
				p.first++
				n++
				left--
			}
			if n == 0 {
				continue
			}
			for _, c := range t.consumers {
				c.trimmedLocked(p.number)
			}
			if left == 0 {
				return true
			}
		}
	}
	return false
}
