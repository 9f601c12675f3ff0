package faultlab

import (
	"slices"
	"time"
)

// lead is how long before a fault its window opens: what is on its way when it happens may be lost.
const lead = 100 * time.Millisecond

// Sample is what one subscriber of a client saw of one fault.
type Sample struct {
	Fault  string
	Client string

	Known time.Duration // from the fault to the new primary; 0 if there is none
	// First is the time to the first event again: the longest silence of the topics concerned together. Hole is the
	// longest silence of any one of them.
	First, Hole time.Duration
	// Again is the part of First after the cluster knew its new primary; 0 if there is none.
	Again time.Duration

	Accepted, Missing, Lost, Uncertain, Silent, Duplicates int
}

// Measure says what a client saw of each fault. v is its check.
func (b *History) Measure(v Result, windows []Window) []Sample {
	var samples []Sample
	for _, w := range windows {
		for i := range b.subscribers {
			s := Sample{Fault: w.Slug, Client: b.client.Name}
			together, one := b.subscribers[i].silences(w)
			s.First, s.Hole = together.length(), one.length()
			if !w.Known.IsZero() {
				s.Known = w.Known.Sub(w.Began)
				if known := w.Known.UnixNano(); together.from < known && together.to > known {
					s.Again = time.Duration(together.to - known)
				}
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
func (b *History) count(s *Sample, v Result, w Window) {
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

// Elsewhere is how many of a check's missing events lie in none of the windows.
func (v Result) Elsewhere(windows []Window) (n int) {
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

// silence is a time in which nothing arrived, in nanoseconds since 1970.
type silence struct{ from, to int64 }

func (s silence) length() time.Duration { return time.Duration(s.to - s.from) }

// silences are the longest within a window: of the topics concerned together, and of one of them.
func (s *subscriberHistory) silences(w Window) (together, one silence) {
	from, to := w.Began.Add(-rest).UnixNano(), w.Ended.UnixNano()
	longer := func(than *silence, before, now int64) {
		if now-before > than.to-than.from {
			*than = silence{from: before, to: now}
		}
	}
	last := make(map[int]int64)
	var all []int64
	for _, r := range s.arrivals {
		if r.at < from || r.at > to || w.Topics != nil && !slices.Contains(w.Topics, r.Topic) {
			continue
		}
		all = append(all, r.at)
		if before, ok := last[r.Topic]; ok {
			longer(&one, before, r.at)
		}
		last[r.Topic] = r.at
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		longer(&together, all[i-1], all[i])
	}
	return together, one
}
