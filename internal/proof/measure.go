package proof

import "time"

// lead is how long before a fault its window opens: what is on its way when it happens may be lost.
const lead = 100 * time.Millisecond

// Sample is what one subscriber of a contestant saw of one fault.
type Sample struct {
	Fault      string
	Contestant string

	Known time.Duration // from the fault to the new primary; 0 if there is none
	// First is the time to the first event again: the longest silence of the topics concerned together. Hole is the
	// longest silence of any one of them.
	First, Hole time.Duration
	// Again is from when the cluster knew its new primary to the first event again; 0 if there is none, or it was
	// receiving before.
	Again time.Duration

	Accepted, Missing, Lost, Uncertain, Silent, Duplicates int
}

// Measure says what a team saw of each fault. v is its audit.
func (b *Books) Measure(v Verdict, windows []Window) []Sample {
	var samples []Sample
	for _, w := range windows {
		for i := range b.subscribers {
			s := Sample{Fault: w.Slug, Contestant: b.contestant.Name}
			first, hole := b.subscribers[i].silences(w)
			s.First, s.Hole = time.Duration(first), time.Duration(hole)
			if !w.Known.IsZero() {
				s.Known = w.Known.Sub(w.Began)
				s.Again = max(0, s.First-s.Known)
			}
			if i == 0 { // counts are sums over the subscribers
				b.count(&s, v, w)
			}
			samples = append(samples, s)
		}
	}
	return samples
}

// count adds what was lost in a window.
func (b *Books) count(s *Sample, v Verdict, w Window) {
	from, to := w.From.Add(-lead).UnixNano(), w.Ended.UnixNano()
	within := func(nanos int64) bool { return nanos >= from && nanos < to }
	for _, p := range b.publishers {
		for _, list := range p.topics {
			for _, pub := range list {
				if pub.outcome == accepted && within(pub.began) {
					s.Accepted += len(b.subscribers)
				}
			}
		}
	}
	for _, l := range v.losses {
		if !within(l.began) {
			continue
		}
		s.Missing++
		switch {
		case l.gap == nil:
			s.Silent++
		case l.gap.Uncertain:
			s.Uncertain++
		default:
			s.Lost++
		}
	}
	for _, nanos := range v.twice {
		if within(nanos) {
			s.Duplicates++
		}
	}
}

// Elsewhere is how many of an audit's missing events lie in none of the windows.
func (v Verdict) Elsewhere(windows []Window) (n int) {
	for _, l := range v.losses {
		found := false
		for _, w := range windows {
			if l.began >= w.From.Add(-lead).UnixNano() && l.began < w.Ended.UnixNano() {
				found = true
			}
		}
		if !found {
			n++
		}
	}
	return n
}
