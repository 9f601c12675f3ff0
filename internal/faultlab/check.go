package faultlab

import (
	"fmt"
	"slices"
)

// Result is what a check found, summed over the subscribers of a client.
type Result struct {
	Accepted int // events whose Publish returned nil, for each subscriber
	Failed   int // an error
	Received int // different events that arrived
	Late     int // of these, events whose Publish had returned an error

	Missing    int // accepted, of a publisher that was not killed, and did not arrive
	Lost       int // of these, told of as lost
	Uncertain  int // as uncertain
	Silent     int // of these, told of not at all
	Orphaned   int // accepted, of a publisher that was killed, did not arrive, and not told of: nobody can know
	Void       int // failed with a number, of a publisher that was not killed, and declared void
	Unmeasured int // gaps without a length: nobody knows how many events are missing, or whether any is
	Unsettled  int // failed with a number, of a publisher that was not killed, that neither arrived nor were told of

	OverReported int // numbers in gaps that arrived, are in another gap, or were never assigned
	WrongKind    int // failed and told of as lost, or accepted and told of as uncertain
	Duplicates   int
	Disorder     int // numbers that arrived after higher ones of the same publisher and topic

	// Broken is what a checked client owes and did not keep: the first few, in words.
	Broken []string

	losses []loss
	twice  []int64 // when duplicates arrived
}

// loss is an event that was accepted, of a publisher that lives, and did not arrive at one subscriber.
type loss struct {
	topic int
	began int64
	gap   *Gap // nil: not told of
}

// maxBroken is how many broken promises are told in words.
const maxBroken = 12

// key is one publisher's numbers on one topic.
type key struct{ publisher, topic int }

// fate is what became of one event at one subscriber.
type fate struct {
	arrived bool
	gap     *Gap
}

// checker is the check of one subscriber.
type checker struct {
	*History
	*Result
	subscriber *subscriberHistory
	fates      map[key][]fate          // by N-1
	bySeq      map[key]map[uint64]int  // a number: N-1
	alien      map[key]map[uint64]*Gap // numbers in gaps that the history does not have
	open       map[key]*Gap            // the gap without a length that begins first
	maybeVoid  int                     // numbers that are void, or in a gap without a length: nobody can tell
}

// Check compares what was published with what arrived and what was told.
func (b *History) Check() Result {
	var v Result
	for _, p := range b.problems {
		v.broken("not understood: %s", p)
	}
	for i := range b.subscribers {
		a := checker{History: b, Result: &v, subscriber: &b.subscribers[i], fates: make(map[key][]fate),
			bySeq: make(map[key]map[uint64]int), alien: make(map[key]map[uint64]*Gap), open: make(map[key]*Gap)}
		a.index()
		a.arrivals()
		a.gaps()
		void := a.Void
		a.settle()
		void = a.Void - void
		if n := a.subscriber.voided; b.client.Complete && !b.anyKilled() && (n < void || n > void+a.maybeVoid) {
			v.broken("%s: %d numbers are void, and it says %d", a.subscriber.name, void, n)
		}
	}
	if b.client.Numbered {
		v.checkOwed(b.client)
	}
	return v
}

// anyKilled reports whether a publisher was killed: then nobody knows which numbers it gave up.
func (b *History) anyKilled() bool {
	return slices.ContainsFunc(b.publishers, func(p publisherHistory) bool { return p.killed })
}

// checkOwed counts what was owed.
func (v *Result) checkOwed(c Client) {
	for _, count := range []struct {
		n    int
		what string
	}{
		{v.Silent, "accepted events are missing and were not told of"},
		{v.Unsettled, "numbers that failed neither arrived nor were told of"},
		{v.OverReported, "numbers are in gaps and should not be"},
		{v.WrongKind, "numbers are in gaps of the wrong kind"},
		{v.Duplicates, "events arrived twice"},
		{v.Disorder, "events arrived out of order"},
	} {
		if count.n > 0 {
			v.Broken = append(v.Broken, fmt.Sprintf("%d %s", count.n, count.what))
		}
	}
	if c.Complete && v.Missing > 0 {
		v.Broken = append(v.Broken, fmt.Sprintf("%d accepted events are missing, and none may be", v.Missing))
	}
}

func (v *Result) broken(format string, args ...any) {
	if len(v.Broken) < maxBroken {
		v.Broken = append(v.Broken, fmt.Sprintf(format, args...))
	}
}

// index makes the numbers findable.
func (a *checker) index() {
	for p, history := range a.publishers {
		for topic, list := range history.topics {
			k := key{p, topic}
			a.fates[k] = make([]fate, len(list))
			if !a.client.Numbered {
				continue
			}
			a.bySeq[k] = make(map[uint64]int, len(list))
			for n, pub := range list {
				if pub.seq == 0 {
					continue
				}
				if other, taken := a.bySeq[k][pub.seq]; taken {
					a.broken("%d and %d of publisher %d on topic %d have the number %d", other+1, n+1, p, topic, pub.seq)
				}
				a.bySeq[k][pub.seq] = n
			}
		}
	}
}

// arrivals notes what arrived.
func (a *checker) arrivals() {
	last := make(map[key]uint64)
	for _, r := range a.subscriber.arrivals {
		k := key{r.Publisher, r.Topic}
		fates := a.fates[k]
		if int(r.N) > len(fates) {
			if r.Publisher >= len(a.publishers) || !a.publishers[r.Publisher].killed {
				a.broken("%s: %+v was never published", a.subscriber.name, r.Event)
				continue
			}
			for int(r.N) > len(fates) { // its publisher was killed before it wrote it down
				fates = append(fates, fate{})
			}
			a.fates[k] = fates
		}
		if fates[r.N-1].arrived {
			a.Duplicates++
			a.twice = append(a.twice, r.at)
			continue
		}
		fates[r.N-1].arrived = true
		list := a.publishers[r.Publisher].topics[r.Topic]
		if int(r.N) > len(list) || list[r.N-1].seq == 0 {
			continue
		}
		seq := list[r.N-1].seq
		if seq < last[k] {
			a.Disorder++
			if a.client.Numbered {
				a.broken("%s: %d of publisher %d on topic %d arrived after %d", a.subscriber.name, seq, r.Publisher, r.Topic, last[k])
			}
		}
		last[k] = max(last[k], seq)
	}
}

// gaps notes what was told of.
func (a *checker) gaps() {
	byID := make(map[string]int)
	for i, p := range a.publishers {
		byID[p.id] = i
	}
	for i := range a.subscriber.gaps {
		g := &a.subscriber.gaps[i]
		if g.From == 0 {
			continue // events without a number: ballast
		}
		p, known := byID[g.Publisher]
		if known && g.unmeasured() && g.Topic >= 0 && g.Topic < len(a.publishers[p].topics) {
			a.Unmeasured++
			if k := (key{p, g.Topic}); a.open[k] == nil || g.From < a.open[k].From {
				a.open[k] = g
			}
			continue
		}
		if !known || g.Count != g.To-g.From+1 || g.To < g.From || g.Topic < 0 || g.Topic >= len(a.publishers[p].topics) || g.Count > 1<<24 {
			a.OverReported += int(min(g.Count, 1<<24))
			a.broken("%s: odd: %+v", a.subscriber.name, *g)
			continue
		}
		k := key{p, g.Topic}
		for seq := g.From; seq <= g.To; seq++ {
			a.missing(k, seq, g)
		}
	}
}

// missing notes that a gap has a number.
func (a *checker) missing(k key, seq uint64, g *Gap) {
	n, ok := a.bySeq[k][seq]
	if !ok {
		if a.alien[k] == nil {
			a.alien[k] = make(map[uint64]*Gap)
		}
		if a.alien[k][seq] != nil || !a.publishers[k.publisher].killed {
			a.OverReported++
			a.broken("%s: %d was never assigned, or is in two gaps: %+v", a.subscriber.name, seq, *g)
		}
		a.alien[k][seq] = g
		return
	}
	f := &a.fates[k][n]
	switch {
	case f.arrived:
		a.OverReported++
		a.broken("%s: %d arrived, and is in %+v", a.subscriber.name, seq, *g)
	case f.gap != nil:
		a.OverReported++
		a.broken("%s: %d is in %+v and %+v", a.subscriber.name, seq, *f.gap, *g)
	}
	f.gap = g
}

// settle counts what became of every event.
func (a *checker) settle() {
	for p, history := range a.publishers {
		for topic, list := range history.topics {
			k := key{p, topic}
			for n, pub := range list {
				a.one(k, n, pub, a.fates[k][n])
			}
			for _, f := range a.fates[k][len(list):] {
				if f.arrived {
					a.Received++
				}
			}
		}
	}
}

func (a *checker) one(k key, n int, pub publication, f fate) {
	killed := a.publishers[k.publisher].killed
	if f.arrived {
		a.Received++
	}
	if open := a.open[k]; open != nil && f.gap == nil && !f.arrived && pub.seq >= open.From {
		a.uncovered(k, pub, open)
		return
	}
	if f.gap != nil && pub.outcome != 0 && f.gap.Uncertain != (pub.outcome == failed) && !killed {
		a.WrongKind++
		a.broken("%s: %+v is in %+v", a.subscriber.name, pub, *f.gap)
	}
	switch pub.outcome {
	case accepted:
		a.Accepted++
		switch {
		case f.arrived:
		case f.gap == nil && killed:
			a.Orphaned++
		case f.gap == nil:
			a.Missing++
			a.Silent++
			a.losses = append(a.losses, loss{topic: k.topic, began: pub.began})
			if a.client.Numbered {
				a.broken("%s: number %d (event %d) of publisher %d on topic %d was lost silently",
					a.subscriber.name, pub.seq, n+1, k.publisher, k.topic)
			}
		default:
			a.Missing++
			a.losses = append(a.losses, loss{topic: k.topic, began: pub.began, gap: f.gap})
			if f.gap.Uncertain {
				a.Uncertain++
			} else {
				a.Lost++
			}
		}
	case failed:
		a.Failed++
		switch {
		case f.arrived:
			a.Late++
		case f.gap == nil && pub.seq != 0 && !killed && a.client.Complete:
			a.Void++
		case f.gap == nil && pub.seq != 0 && !killed && a.client.Numbered:
			a.Unsettled++
			a.broken("%s: number %d of publisher %d on topic %d failed and is nowhere", a.subscriber.name, pub.seq, k.publisher, k.topic)
		}
	case received:
	}
}

// uncovered counts an event that may be in a gap without a length, and did not arrive.
func (a *checker) uncovered(k key, pub publication, open *Gap) {
	switch pub.outcome {
	case accepted:
		a.Accepted++
		if a.publishers[k.publisher].killed {
			a.Orphaned++
			return
		}
		a.Missing++
		a.Uncertain++
		a.losses = append(a.losses, loss{topic: k.topic, began: pub.began, gap: open})
	case failed:
		a.Failed++
		a.maybeVoid++
	case received:
	}
}

// Reasons counts what was told of by the reasons given.
func (b *History) Reasons() map[string]uint64 {
	n := make(map[string]uint64)
	for _, s := range b.subscribers {
		for _, g := range s.gaps {
			n[g.Reason] += g.Count
		}
	}
	return n
}
