package track_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"pgregory.net/rapid"
)

var cfg = track.Config{
	Hold: 50 * time.Millisecond, TailHold: 500 * time.Millisecond, MaxHeld: 8, MaxPublishers: 4, MaxFloors: 64, MaxUnverified: 16,
	Forget: time.Minute, FinalForget: time.Second, Margin: time.Second, MaxJump: 1 << 20,
}

// ledger checks what a tracker says of one publisher: each number once, in order, with the right kind.
type ledger struct {
	t         rapid.TB
	given     map[uint64]bool
	delivered uint64 // the highest
	missing   map[uint64]bool
	received  map[uint64]bool
	kinds     bool // whether to check kinds
}

func (l *ledger) Deliver(env *transport.Envelope) {
	if env.Seq <= l.delivered {
		l.t.Fatalf("%d was delivered after %d", env.Seq, l.delivered)
	}
	if l.missing[env.Seq] {
		l.t.Fatalf("%d was delivered after it was reported missing", env.Seq)
	}
	l.delivered = env.Seq
	l.received[env.Seq] = true
}

func (l *ledger) Gap(g track.Gap) {
	if g.From == 0 || g.To < g.From {
		l.t.Fatalf("a gap from %d to %d", g.From, g.To)
	}
	for seq := g.From; seq <= g.To; seq++ {
		if l.missing[seq] || l.received[seq] {
			l.t.Fatalf("%d in the gap %d to %d was settled before", seq, g.From, g.To)
		}
		if l.kinds && l.given[seq] != (g.Kind == transport.Uncertain) {
			l.t.Fatalf("%d is reported %v, given up: %v", seq, g.Kind, l.given[seq])
		}
		l.missing[seq] = true
	}
}

func newLedger(t rapid.TB) *ledger {
	return &ledger{t: t, given: map[uint64]bool{}, missing: map[uint64]bool{}, received: map[uint64]bool{}, kinds: true}
}

// TestEveryNumberOnce sends 1 to n through a channel that loses, duplicates, delays and reorders at random, with
// watermarks in between and a final one, and checks that each number is received once or missing once.
func TestEveryNumberOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := time.Unix(1e6, 0)
		l := newLedger(t)
		tr := track.New(&cfg, start, l)
		n := rapid.Uint64Range(1, 40).Draw(t, "n")
		type arrival struct {
			seq       uint64
			uncertain string
			watermark bool
		}
		var wire []arrival
		var given seqset.Set
		for seq := uint64(1); seq <= n; seq++ {
			switch rapid.SampledFrom([]string{"ok", "ok", "ok", "lose", "dup", "giveup", "late"}).Draw(t, "fate") {
			case "ok":
				wire = append(wire, arrival{seq: seq, uncertain: given.String()})
			case "dup":
				a := arrival{seq: seq, uncertain: given.String()}
				wire = append(wire, a, a)
			case "giveup":
				given = given.With(seqset.Range{From: seq, To: seq})
				l.given[seq] = true
			case "late":
				wire = append(wire, arrival{seq: seq, uncertain: given.String()})
				i := rapid.IntRange(0, len(wire)-1).Draw(t, "before")
				a := wire[len(wire)-1]
				copy(wire[i+1:], wire[i:len(wire)-1])
				wire[i] = a
			}
			if rapid.IntRange(0, 5).Draw(t, "mark") == 0 {
				wire = append(wire, arrival{seq: seq, uncertain: given.String(), watermark: true})
			}
		}
		if len(given) == seqset.MaxRanges {
			l.kinds = false // merged: kinds are only a bound
		}
		now := start.Add(2 * cfg.Margin)
		born := now
		for _, a := range wire {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "ms")) * time.Millisecond)
			tr.Expire(now)
			if a.watermark {
				tr.Watermark(now, "p", track.Mark{Last: a.seq, Age: now.Sub(born), Uncertain: a.uncertain})
			} else {
				tr.Event(now, &transport.Envelope{Publisher: "p", Seq: a.seq}, a.uncertain)
			}
		}
		tr.Watermark(now, "p", track.Mark{Last: n, Age: now.Sub(born), Uncertain: given.String(), Final: true})
		for next := tr.Expire(now); !next.IsZero(); next = tr.Expire(now) {
			if !next.After(now) {
				t.Fatal("Expire asks to be called at once")
			}
			now = next
		}
		if tr.Holding() {
			t.Fatal("something is still held")
		}
		if got := uint64(len(l.received) + len(l.missing)); got != n {
			t.Fatalf("%d received, %d missing, of %d", len(l.received), len(l.missing), n)
		}
		tr.Expire(now.Add(2 * cfg.FinalForget))
		if tr.Publishers() != 0 {
			t.Fatal("a publisher that ended is remembered")
		}
	})
}

// TestReorderWithinHold loses nothing: what is late by less than Hold is delivered in order.
func TestReorderWithinHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1e6, 0)
		l := newLedger(t)
		tr := track.New(&cfg, now, l)
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
		order := rapid.Permutation([]uint64{2, 3, 4, 5, 6, 7}).Draw(t, "order")
		for _, seq := range order {
			now = now.Add(time.Millisecond)
			tr.Expire(now)
			tr.Event(now, &transport.Envelope{Publisher: "p", Seq: seq}, "")
		}
		if l.delivered != 7 || len(l.received) != 7 || len(l.missing) != 0 {
			t.Fatalf("received %v, missing %v", l.received, l.missing)
		}
	})
}

// TestBaseline: what a publisher sent before the subscription is not missing.
func TestBaseline(t *testing.T) {
	start := time.Unix(1e6, 0)
	for _, c := range []struct {
		name    string
		age     time.Duration
		missing int
	}{{"born before", time.Hour, 0}, {"born after", time.Second, 9}} {
		t.Run(c.name, func(t *testing.T) {
			l := newLedger(t)
			tr := track.New(&cfg, start, l)
			now := start.Add(10 * time.Second)
			tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 10}, "")
			for range 3 {
				tr.Watermark(now, "p", track.Mark{Last: 10, Age: c.age})
			}
			if len(l.missing) != c.missing || len(l.received) != 1 {
				t.Errorf("missing %v", l.missing)
			}
		})
	}
}

// TestSilentPublisherKeepsItsFloor: of a publisher that was silent for long only its floor is known. So what comes once
// more is dropped, and what was lost meanwhile is missing.
func TestSilentPublisherKeepsItsFloor(t *testing.T) {
	for _, c := range []struct {
		name   string
		silent time.Duration
		final  bool
	}{{"silent", 2 * cfg.Forget, false}, {"ended", 2 * cfg.FinalForget, true}} {
		t.Run(c.name, func(t *testing.T) {
			now := time.Unix(1e6, 0)
			sink := &seqList{}
			tr := track.New(&cfg, now, sink)
			tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
			tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 2}, "")
			tr.Watermark(now, "p", track.Mark{Last: 2, Final: c.final})
			if now = now.Add(c.silent); tr.Expire(now) != (time.Time{}) || tr.Publishers() != 0 {
				t.Fatalf("%d publishers", tr.Publishers())
			}
			for _, seq := range []uint64{1, 2, 5, 3, 5} {
				tr.Event(now, &transport.Envelope{Publisher: "p", Seq: seq}, "")
			}
			tr.Expire(now.Add(cfg.Hold))
			if !slices.Equal(sink.seqs, []uint64{1, 2, 3, 5}) {
				t.Errorf("delivered %v", sink.seqs)
			}
			if len(sink.gapList) != 1 || sink.gapList[0].From != 4 || sink.gapList[0].To != 4 || tr.Counts().Missing != 1 {
				t.Errorf("gaps %+v", sink.gapList)
			}
		})
	}
}

// TestForgottenFloorIsNoGap: when the floor of a publisher had to make room too, nobody knows which of its numbers were
// delivered. That is told without a length, and none of them is reported missing, however young its stream says it is.
func TestForgottenFloorIsNoGap(t *testing.T) {
	start := time.Unix(1e6, 0)
	now := start.Add(10 * time.Second)
	sink := &seqList{}
	tr := track.New(&cfg, start, sink)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	for i := range cfg.MaxPublishers + cfg.MaxUnverified {
		now = now.Add(time.Millisecond)
		tr.Event(now, &transport.Envelope{Publisher: fmt.Sprint("other", i), Seq: 1}, "")
	}
	if len(sink.gapList) == 0 || sink.gapList[0].Count != 0 || sink.gapList[0].Reason != transport.Forgotten {
		t.Fatalf("gaps %+v", sink.gapList)
	}
	sink.seqs, sink.gapList = nil, nil
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 5}, "")
	tr.Watermark(now, "p", track.Mark{Last: 5, Age: now.Sub(start.Add(10 * time.Second))})
	tr.Expire(now.Add(cfg.TailHold))
	if !slices.Equal(sink.seqs, []uint64{5}) || tr.Counts().Missing != 0 {
		t.Errorf("delivered %v, gaps %+v", sink.seqs, sink.gapList)
	}
}

func TestManyPublishersAreBounded(t *testing.T) {
	now := time.Unix(1e6, 0)
	l := newLedger(t)
	tr := track.New(&cfg, now, discard{})
	_ = l
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		tr.Event(now, &transport.Envelope{Publisher: fmt.Sprint(i), Seq: 1}, "")
		tr.Event(now, &transport.Envelope{Publisher: fmt.Sprint(i), Seq: 9}, "")
	}
	if tr.Publishers() > cfg.MaxPublishers {
		t.Errorf("%d publishers", tr.Publishers())
	}
}

func TestAbsurdNumbersDoNoHarm(t *testing.T) {
	now := time.Unix(1e6, 0)
	l := newLedger(t)
	tr := track.New(&cfg, now, l)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	tr.Watermark(now, "p", track.Mark{Last: 1 << 60})
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 2}, "18446744073709551615,zz")
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 4}, "")
	tr.Expire(now.Add(time.Second))
	if len(l.received) != 3 || len(l.missing) != 1 {
		t.Errorf("received %v, missing %v", l.received, l.missing)
	}
}

func TestReason(t *testing.T) {
	now := time.Unix(1e6, 0)
	var gaps gapList
	tr := track.New(&cfg, now, &gaps)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	tr.Fault(transport.Disconnected)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 3}, "")
	tr.Expire(now.Add(time.Second))
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 5}, "")
	tr.Expire(now.Add(time.Second))
	if len(gaps) != 2 || gaps[0].Reason != transport.Disconnected || gaps[1].Reason != transport.Unknown {
		t.Errorf("%+v", gaps)
	}
}

type discard struct{}

func (discard) Deliver(*transport.Envelope) {}
func (discard) Gap(track.Gap)               {}

type gapList []track.Gap

func (*gapList) Deliver(*transport.Envelope) {}
func (l *gapList) Gap(g track.Gap)           { *l = append(*l, g) }
