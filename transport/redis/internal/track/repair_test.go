package track_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"pgregory.net/rapid"
)

// repairing is cfg with repair; what waits is counted by the budget.
func repairing(random func() float64) (track.Config, *track.Budget) {
	c := cfg
	budget := track.NewBudget(1 << 20)
	c.MaxHeld = 1000
	c.Repair = &track.Repair{
		Timeout: 2 * time.Second, Delay: 10 * time.Millisecond, MaxDelay: 200 * time.Millisecond, Deaf: time.Second,
		MaxHeldBytes: 1 << 20, Budget: budget, Askable: func(p string) bool { return p != "mute" }, Random: random,
	}
	return c, budget
}

// peer is a publisher of numbers 1 to assigned, as the model of the tests: it remembers those above gone.
type peer struct {
	assigned, gone uint64
	void           map[uint64]bool
	accepted       map[uint64]bool
	given          seqset.Set
	limit          int // events of one answer
}

func (p *peer) answer(n uint64, missing seqset.Set) track.Answer {
	a := track.Answer{N: n, Assigned: p.assigned, Uncertain: p.given.String()}
	for _, r := range missing {
		for seq := r.From; seq <= min(r.To, p.assigned); seq++ {
			switch {
			case seq <= p.gone:
				a.Gone = p.gone
			case p.void[seq]:
				a.Void = a.Void.With(seqset.Range{From: seq, To: seq})
			case !p.accepted[seq]:
				a.Open = a.Open.With(seqset.Range{From: seq, To: seq})
			case len(a.Events) < p.limit:
				a.Events = append(a.Events, track.Event{Env: &transport.Envelope{Publisher: "p", Seq: seq}})
			}
		}
	}
	if len(a.Void) == seqset.MaxRanges { // it may have merged: ask again for the rest
		a.Void = a.Void[len(a.Void)-1:]
	}
	if len(a.Open) == seqset.MaxRanges {
		a.Open = nil
	}
	return a
}

// TestRepairHealsAll sends numbers through a channel that loses, duplicates, reorders and delays at random, and questions
// and answers through others that do the same. In the end, when the channels carry again, every number is received in
// order, void by its publisher's word, or in one gap; and a gap is only what the publisher has forgotten.
func TestRepairHealsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := func(name string, percent int) bool { return rapid.IntRange(0, 99).Draw(t, name) < percent }
		c, budget := repairing(func() float64 { return float64(rapid.IntRange(0, 99).Draw(t, "jitter")) / 100 })
		start := time.Unix(1e6, 0)
		l := newLedger(t)
		tr := track.New(&c, start, l)
		now := start.Add(2 * c.Margin)
		born := now
		p := &peer{void: map[uint64]bool{}, accepted: map[uint64]bool{}, limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		type message struct {
			seq       uint64
			uncertain string
			mark      bool
		}
		var wire []message
		var answers []track.Answer
		var question uint64
		lossy := true
		put := func(m message) {
			if lossy && chance("lose", 30) {
				return
			}
			i := len(wire)
			if lossy && chance("reorder", 20) {
				i = rapid.IntRange(max(0, i-4), i).Draw(t, "at")
			}
			wire = slices.Insert(wire, i, m)
			if lossy && chance("duplicate", 10) {
				wire = append(wire, m)
			}
		}
		arrive := func() {
			m := wire[0]
			wire = wire[1:]
			if m.mark {
				tr.Watermark(now, "p", track.Mark{Last: m.seq, Age: now.Sub(born), Uncertain: m.uncertain, Epoch: 7})
			} else {
				tr.Event(now, &transport.Envelope{Publisher: "p", Seq: m.seq}, m.uncertain)
			}
		}
		ask := func() {
			question++
			tr.CollectMissing(now, question, func(publisher string, missing seqset.Set) {
				text, err := seqset.Parse(missing.String())
				if publisher != "p" || err != nil || !slices.Equal(text, missing) {
					t.Fatalf("asked %s for %v: %v", publisher, missing, err)
				}
				for _, r := range missing {
					if r.To > p.assigned {
						t.Fatalf("asked for %v of %d", r, p.assigned)
					}
				}
				if lossy && chance("unsent", 20) {
					return
				}
				heard := !lossy || !chance("unheard", 20)
				tr.NackSent(now, publisher, heard)
				if heard && (!lossy || !chance("lose answer", 30)) {
					answers = append(answers, p.answer(question, missing))
					answers[len(answers)-1].Age = now.Sub(born)
				}
			})
		}
		pass := func(d time.Duration) {
			now = now.Add(d)
			tr.Expire(now)
			ask()
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "void", "mark", "arrive", "arrive", "answer", "forget", "wait"}).Draw(t, "step") {
			case "publish":
				p.assigned++
				p.accepted[p.assigned] = true
				put(message{seq: p.assigned, uncertain: p.given.String()})
			case "void":
				p.assigned++
				p.void[p.assigned], l.given[p.assigned] = true, true
				p.given = p.given.With(seqset.Range{From: p.assigned, To: p.assigned})
			case "mark":
				put(message{seq: p.assigned, uncertain: p.given.String(), mark: true})
			case "arrive":
				if len(wire) > 0 {
					arrive()
				}
			case "answer":
				if len(answers) > 0 {
					tr.Answer(now, "p", answers[0])
					if !chance("twice", 20) {
						answers = answers[1:]
					}
				}
			case "forget":
				if p.assigned > 0 && chance("forget", 20) {
					p.gone = max(p.gone, rapid.Uint64Range(0, p.assigned).Draw(t, "gone"))
				}
			case "wait":
				pass(time.Duration(rapid.IntRange(1, 50).Draw(t, "ms")) * time.Millisecond)
			}
		}
		lossy = false
		if p.assigned == 0 {
			return
		}
		if len(p.given) == seqset.MaxRanges {
			l.kinds = false // merged: kinds are only a bound
		}
		put(message{seq: p.assigned, uncertain: p.given.String(), mark: true})
		for range 1000 {
			if len(wire) == 0 && len(answers) == 0 && !tr.Holding() {
				break
			}
			for len(wire) > 0 {
				arrive()
			}
			for len(answers) > 0 {
				tr.Answer(now, "p", answers[0])
				answers = answers[1:]
			}
			pass(10 * time.Millisecond)
		}
		if tr.Holding() || budget.Held() != 0 {
			t.Fatalf("something is held: %d bytes", budget.Held())
		}
		for seq := range l.missing {
			if seq > p.gone {
				t.Fatalf("%d is reported missing, and its publisher has it", seq)
			}
		}
		voided := uint64(0)
		for seq := uint64(1); seq <= p.assigned; seq++ {
			if !l.received[seq] && !l.missing[seq] {
				if !p.void[seq] {
					t.Fatalf("%d of %d is neither received nor missing", seq, p.assigned)
				}
				voided++
			}
		}
		counts := tr.Counts()
		if counts.Received != uint64(len(l.received)) || counts.Missing != uint64(len(l.missing)) || counts.Voided != voided ||
			counts.Received+counts.Missing+counts.Voided != p.assigned {
			t.Fatalf("%+v of %d, voided %d", counts, p.assigned, voided)
		}
	})
}

// hole returns a tracker with 1 delivered and 3 held, and what it said.
func hole(t *testing.T) (*track.Tracker, *ledger, *gapList, time.Time) {
	c, _ := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	l := newLedger(t)
	gaps := &gapList{}
	tr := track.New(&c, now, both{l, gaps})
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 3}, "")
	return tr, l, gaps, now
}

type both struct {
	*ledger
	gaps *gapList
}

func (b both) Gap(g track.Gap) { b.ledger.Gap(g); b.gaps.Gap(g) }

// asks passes time until there is a question, and returns when.
func asks(t *testing.T, tr *track.Tracker, now time.Time, n uint64, limit time.Duration) (at time.Time, asked bool) {
	t.Helper()
	for end := now.Add(limit); now.Before(end); now = now.Add(10 * time.Millisecond) {
		tr.Expire(now)
		tr.CollectMissing(now, n, func(string, seqset.Set) { asked = true })
		if asked {
			return now, true
		}
	}
	return now, false
}

// TestTimeoutCountsFromWhenItCanBeAsked: as long as no question can be sent, nothing is given up.
func TestTimeoutCountsFromWhenItCanBeAsked(t *testing.T) {
	tr, l, gaps, now := hole(t)
	for range 600 { // ten minutes
		now = now.Add(time.Second)
		tr.Expire(now)
		tr.CollectMissing(now, 1, func(string, seqset.Set) {}) // and it cannot be sent
	}
	if len(l.missing) != 0 || !tr.Holding() {
		t.Fatalf("given up after %v: %v", now, *gaps)
	}
	tr.NackSent(now, "p", true)
	tr.Expire(now.Add(1999 * time.Millisecond))
	if len(l.missing) != 0 {
		t.Fatalf("given up before the time: %v", *gaps)
	}
	tr.Expire(now.Add(2 * time.Second))
	if len(*gaps) != 1 || (*gaps)[0].Reason != transport.PublisherGone || l.delivered != 3 || tr.Holding() {
		t.Errorf("%v, delivered up to %d", *gaps, l.delivered)
	}
}

// TestNobodyListens ends the wait of a publisher that has died.
func TestNobodyListens(t *testing.T) {
	tr, l, gaps, now := hole(t)
	begin := now
	for n := uint64(1); tr.Holding() && now.Sub(begin) < time.Minute; n++ {
		var asked bool
		if now, asked = asks(t, tr, now, n, time.Second); asked {
			tr.NackSent(now, "p", false)
		}
		now = now.Add(10 * time.Millisecond)
	}
	if took := now.Sub(begin); took < time.Second || took > 1500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	if len(*gaps) != 1 || (*gaps)[0].Reason != transport.PublisherGone || l.delivered != 3 {
		t.Errorf("%v", *gaps)
	}
}

// TestOpenNumbersWait: what the publisher still tries to send is waited for, but not for ever.
func TestOpenNumbersWait(t *testing.T) {
	tr, l, gaps, now := hole(t)
	begin := now
	for n := uint64(1); tr.Holding() && now.Sub(begin) < time.Hour; n++ {
		var asked bool
		if now, asked = asks(t, tr, now, n, time.Second); asked {
			tr.NackSent(now, "p", true)
			tr.Answer(now, "p", track.Answer{N: n, Assigned: 3, Open: seqset.Set{{From: 2, To: 2}}})
		}
		now = now.Add(10 * time.Millisecond)
	}
	if took := now.Sub(begin); took < 20*time.Second || took > 30*time.Second || len(*gaps) != 1 || l.delivered != 3 {
		t.Errorf("after %v: %v", took, *gaps)
	}
}

// TestGoneEndsTheWaitAtOnce, and says why.
func TestGoneEndsTheWaitAtOnce(t *testing.T) {
	tr, l, gaps, now := hole(t)
	now, _ = asks(t, tr, now, 1, time.Second)
	tr.Answer(now, "p", track.Answer{N: 1, Assigned: 3, Gone: 2, Epoch: 99, Events: []track.Event{
		{Env: &transport.Envelope{Publisher: "p", Seq: 3}}, // what waits is what it sent
	}})
	want := track.Gap{Publisher: "p", Epoch: 99, From: 2, To: 2, Count: 1, Since: time.Unix(1e6, 0), Reason: transport.WindowExceeded}
	if len(*gaps) != 1 || (*gaps)[0] != want || l.delivered != 3 {
		t.Errorf("%+v", *gaps)
	}
}

// TestQuestionsAreFew: the more often it was asked in vain, the rarer.
func TestQuestionsAreFew(t *testing.T) {
	tr, _, _, now := hole(t)
	n := 0
	for range 200 { // two seconds, of which none was sent
		now = now.Add(10 * time.Millisecond)
		tr.CollectMissing(now, 1, func(string, seqset.Set) { n++ })
	}
	if n < 10 || n > 20 {
		t.Errorf("%d questions in two seconds", n)
	}
}

// TestForgedAnswersDoNoHarm: answers settle only what is missing and was asked for.
func TestForgedAnswersDoNoHarm(t *testing.T) {
	tr, l, gaps, now := hole(t)
	everything := seqset.Set{{From: 1, To: 1 << 62}}
	tr.Answer(now, "p", track.Answer{N: 9, Assigned: 1 << 62, Gone: 1 << 62, Void: everything}) // nobody asked
	now, _ = asks(t, tr, now, 10, time.Second)
	tr.Answer(now, "q", track.Answer{N: 10, Gone: 2})
	tr.Answer(now, "p", track.Answer{N: 10, Assigned: 1 << 62, Events: []track.Event{
		{Env: &transport.Envelope{Publisher: "p", Seq: 1}}, {Env: &transport.Envelope{Publisher: "p", Seq: 3}},
		{Env: &transport.Envelope{Publisher: "p", Seq: 9}}, {Env: &transport.Envelope{Publisher: "q", Seq: 2}},
		{Env: &transport.Envelope{Publisher: "p"}},
	}})
	if len(l.missing) != 0 || l.delivered != 1 || !tr.Holding() {
		t.Fatalf("%v, delivered up to %d", *gaps, l.delivered)
	}
	tr.Answer(now, "p", track.Answer{N: 10, Assigned: 1 << 62, Gone: 1 << 62, Void: everything})
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 4}, "")
	if len(l.missing) != 0 || l.delivered != 4 || tr.Counts().Voided != 1 {
		t.Errorf("%v, delivered up to %d, %+v", *gaps, l.delivered, tr.Counts())
	}
}

// TestForgedNumbersAreRefuted: an event that claims a number far ahead is delivered without it once the publisher says
// that it never assigned it; what was assigned since the answer stays.
func TestForgedNumbersAreRefuted(t *testing.T) {
	c, budget := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	sink := &seqList{}
	tr := track.New(&c, now, sink)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 900_000}, "")
	tr.Watermark(now, "p", track.Mark{Last: 950_000})
	now, _ = asks(t, tr, now, 5, time.Second)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 4}, "") // assigned since
	tr.Answer(now, "p", track.Answer{N: 5, Assigned: 1})
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 2}, "")
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 3}, "")
	now, _ = asks(t, tr, now, 6, time.Second)
	tr.Answer(now, "p", track.Answer{N: 6, Assigned: 4, Events: []track.Event{{Env: &transport.Envelope{Publisher: "p", Seq: 4}}}})
	if !slices.Equal(sink.seqs, []uint64{1, 0, 2, 3, 4}) || len(sink.gapList) != 0 || tr.Holding() || tr.Counts().Forged != 1 {
		t.Errorf("delivered %v, gaps %v", sink.seqs, sink.gapList)
	}
	if budget.Held() != 0 {
		t.Errorf("%d bytes held", budget.Held())
	}
}
