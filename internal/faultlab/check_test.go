package faultlab

import (
	"strings"
	"testing"
	"time"
)

// honest is the history of a publisher of five events on one topic, the fourth of which failed, and of a subscriber that
// missed the second, was told so, and was told that nobody knows of the fourth.
func honest() *History {
	list := make([]publication, 5)
	for i := range list {
		list[i] = publication{outcome: accepted, seq: uint64(i + 1), began: int64(i + 1)}
	}
	list[3].outcome = failed
	b := &History{
		client:     Client{Name: "x", Numbered: true},
		publishers: []publisherHistory{{id: "p", topics: [][]publication{list}}},
		subscribers: []subscriberHistory{{name: "s", gaps: []Gap{
			{Publisher: "p", From: 2, To: 2, Count: 1},
			{Publisher: "p", From: 4, To: 4, Count: 1, Uncertain: true},
		}}},
	}
	for _, n := range []uint32{1, 3, 5} {
		b.arrives(n)
	}
	return b
}

func (b *History) arrives(n uint32) {
	s := &b.subscribers[0]
	s.arrivals = append(s.arrivals, record{Event: Event{N: n}, outcome: received, at: int64(100 + len(s.arrivals))})
}

// open replaces the gaps by one without a length.
func (b *History) open(from uint64, uncertain bool) {
	b.subscribers[0].gaps = []Gap{{Publisher: "p", From: from, Uncertain: uncertain, Reason: "publisher gone"}}
}

// TestCheckOfGapsWithoutLength: what is missing behind such a gap was told of, as uncertain; what arrived behind it is right.
func TestCheckOfGapsWithoutLength(t *testing.T) {
	for _, killed := range []bool{false, true} {
		b := honest()
		b.publishers[0].killed = killed
		b.open(2, true)
		missing := 1
		if killed {
			missing = 0
		}
		v := b.Check()
		if len(v.Broken) > 0 || v.Unmeasured != 1 || v.Missing != missing || v.Uncertain != missing || v.Orphaned != 1-missing || v.Received != 3 || v.Failed != 1 {
			t.Errorf("killed %t: %+v", killed, v)
		}
	}
	b := honest() // nothing is missing but what failed, which is void or is not: nobody can tell
	b.client.Complete = true
	b.subscribers[0].arrivals = nil
	for _, n := range []uint32{1, 2, 3, 5} {
		b.arrives(n)
	}
	for b.subscribers[0].voided = range 2 {
		b.open(4, true)
		if v := b.Check(); len(v.Broken) > 0 || v.Void != 0 || v.Missing != 0 {
			t.Errorf("%d said to be void: %+v", b.subscribers[0].voided, v)
		}
	}
}

func TestCheckOfAnHonestHistory(t *testing.T) {
	v := honest().Check()
	if len(v.Broken) > 0 || v.Accepted != 4 || v.Failed != 1 || v.Received != 3 || v.Missing != 1 || v.Lost != 1 || v.Silent != 0 {
		t.Errorf("%+v", v)
	}
}

// TestCheckFinds: whatever is wrong with the history is found.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(b *History)
		want  string
	}{
		{"an accepted event is missing without a word", func(b *History) { b.subscribers[0].gaps = b.subscribers[0].gaps[1:] }, "lost silently"},
		{"a failed one neither came nor was told of", func(b *History) { b.subscribers[0].gaps = b.subscribers[0].gaps[:1] }, "is nowhere"},
		{"what is in a gap arrived", func(b *History) { b.arrives(2) }, "arrived, and is in"},
		{"a gap twice", func(b *History) { b.subscribers[0].gaps = append(b.subscribers[0].gaps, b.subscribers[0].gaps[0]) }, "and {"},
		{"a number that was never assigned", func(b *History) {
			b.subscribers[0].gaps = append(b.subscribers[0].gaps, Gap{Publisher: "p", From: 6, To: 6, Count: 1})
		}, "never assigned"},
		{"a publisher that never was", func(b *History) {
			b.subscribers[0].gaps = append(b.subscribers[0].gaps, Gap{Publisher: "q", From: 1, To: 1, Count: 1})
		}, "odd"},
		{"a count that is not the length", func(b *History) { b.subscribers[0].gaps[0].Count = 2 }, "odd"},
		{"a length of none", func(b *History) { b.subscribers[0].gaps[0].Count = 0 }, "odd"},
		{"no length, and surely lost", func(b *History) { b.open(2, false) }, "odd"},
		{"no length, of a publisher that never was", func(b *History) {
			b.open(2, true)
			b.subscribers[0].gaps[0].Publisher = "q"
		}, "odd"},
		{"missing before a gap without a length", func(b *History) { b.open(3, true) }, "lost silently"},
		{"missing in a gap without a length, where nothing may be", func(b *History) {
			b.client.Complete = true
			b.open(2, true)
		}, "none may be"},
		{"more void than can be", func(b *History) {
			b.client.Complete = true
			b.subscribers[0].voided = 2
			b.open(3, true)
		}, "0 numbers are void, and it says 2"},
		{"a loss called uncertain", func(b *History) { b.subscribers[0].gaps[0].Uncertain = true }, "of the wrong kind"},
		{"a failure called a loss", func(b *History) { b.subscribers[0].gaps[1].Uncertain = false }, "of the wrong kind"},
		{"twice", func(b *History) { b.arrives(5) }, "arrived twice"},
		{"out of order", func(b *History) {
			a := b.subscribers[0].arrivals
			a[0], a[1] = a[1], a[0]
		}, "arrived after"},
		{"an event that nobody published", func(b *History) { b.arrives(9) }, "never published"},
		{"two events with one number", func(b *History) { b.publishers[0].topics[0][4].seq = 1 }, "have the number"},
		{"a line that means nothing", func(b *History) { b.problems = []string{"it said hello"} }, "not understood"},
		{"told, where nothing may be missing", func(b *History) { b.client.Complete = true }, "none may be"},
		{"void, and not counted so", func(b *History) {
			b.client.Complete = true
			b.subscribers[0].gaps = b.subscribers[0].gaps[:1]
		}, "are void, and it says 0"},
	} {
		b := honest()
		c.spoil(b)
		if broken := strings.Join(b.Check().Broken, "\n"); !strings.Contains(broken, c.want) {
			t.Errorf("%s: found %q, want %q in it", c.name, broken, c.want)
		}
	}
}

// TestCheckOfTheKilled: what a publisher that was killed had not written down is nobody's fault, and what it did not say
// any more cannot be known.
func TestCheckOfTheKilled(t *testing.T) {
	b := honest()
	b.publishers[0].killed = true
	b.arrives(6)
	b.subscribers[0].gaps = append(b.subscribers[0].gaps[1:], Gap{Publisher: "p", From: 7, To: 7, Count: 1})
	if v := b.Check(); len(v.Broken) > 0 || v.Orphaned != 1 || v.Missing != 0 || v.Received != 4 {
		t.Errorf("%+v", v)
	}
}

// TestCheckOfTheUnnumbered: who gives no numbers is measured, not checked.
func TestCheckOfTheUnnumbered(t *testing.T) {
	b := honest()
	b.client.Numbered = false
	for i := range b.publishers[0].topics[0] {
		b.publishers[0].topics[0][i].seq = 0
	}
	b.subscribers[0].gaps = nil
	b.arrives(5)
	if v := b.Check(); len(v.Broken) > 0 || v.Missing != 1 || v.Silent != 1 || v.Duplicates != 1 {
		t.Errorf("%+v", v)
	}
}

func TestMeasure(t *testing.T) {
	ms := func(n int64) time.Time { return time.Unix(0, n*int64(time.Millisecond)) }
	b := honest()
	b.publishers[0].topics[0][1].began = ms(1010).UnixNano()
	s := &b.subscribers[0]
	s.arrivals = nil
	for i, when := range []int64{900, 1000, 1400, 1500} {
		s.arrivals = append(s.arrivals, record{Event: Event{N: uint32(i + 1)}, at: ms(when).UnixNano()})
	}
	w := Window{Slug: "f", Impact: Impact{From: ms(1005), Began: ms(1005), Known: ms(1300)}, Ended: ms(1600)}
	v := Result{losses: []loss{{began: ms(1010).UnixNano()}, {began: ms(5000).UnixNano()}}}
	got := b.Measure(v, []Window{w})[0]
	want := Sample{
		Fault: "f", Client: "x", Known: 295 * time.Millisecond, First: 400 * time.Millisecond,
		Hole: 400 * time.Millisecond, Again: 100 * time.Millisecond, Accepted: 1, Missing: 1, Silent: 1,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n := v.Elsewhere([]Window{w}); n != 1 {
		t.Errorf("%d outside, want 1", n)
	}
}
