package track_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// slowPeer answers each question, some time after it was asked.
type slowPeer struct {
	latency time.Duration
	answer  func(now time.Time, n uint64, missing seqset.Set) track.Answer
	asked   uint64 // questions
	due     []time.Time
	answers []track.Answer
}

// run lets the time from now to end pass, and returns end.
func (p *slowPeer) run(tr *track.Tracker, now, end time.Time) time.Time {
	for ; now.Before(end); now = now.Add(10 * time.Millisecond) {
		p.asked++
		tr.CollectMissing(now, p.asked, func(_ string, missing seqset.Set) {
			p.due = append(p.due, now.Add(p.latency))
			p.answers = append(p.answers, p.answer(now.Add(p.latency), p.asked, missing))
		})
		tr.NackSent(now, "p", true)
		for len(p.due) > 0 && !p.due[0].After(now) {
			tr.Answer(now, "p", p.answers[0])
			p.due, p.answers = p.due[1:], p.answers[1:]
		}
		tr.Expire(now)
	}
	return end
}

// TestSlowAnswers: questions are repeated more often than a busy publisher answers, so that no answer is ever to the last
// one. They end the doubt behind a fault, and the search for the beginning, all the same.
func TestSlowAnswers(t *testing.T) {
	c, _ := repairing(func() float64 { return 0 }) // repeats after 200 ms
	for _, latency := range []time.Duration{10 * time.Millisecond, 300 * time.Millisecond, 1500 * time.Millisecond} {
		now := time.Unix(1e6, 0)
		sink := &seqList{}
		tr := track.New(&c, now, sink)
		born := now.Add(50 * time.Millisecond)
		p := &slowPeer{latency: latency, answer: func(now time.Time, n uint64, missing seqset.Set) track.Answer {
			a := track.Answer{N: n, Assigned: 3, Age: now.Sub(born)}
			for _, r := range missing {
				for seq := r.From; seq <= min(r.To, 3); seq++ {
					a.Events = append(a.Events, track.Event{Env: &transport.Envelope{Publisher: "p", Seq: seq}})
				}
			}
			return a
		}}
		now = now.Add(cfg.Margin + time.Second)
		born = now
		now = now.Add(100 * time.Millisecond)
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 3}, "") // is it the first?
		now = p.run(tr, now, now.Add(20*time.Second))
		if want := []uint64{1, 2, 3}; !slices.Equal(sink.seqs, want) || len(sink.gapList) != 0 {
			t.Errorf("answers after %v: delivered %v, want %v; gaps %v", latency, sink.seqs, want, sink.gapList)
		}
		for range 2 {
			tr.Fault(transport.Disconnected)
			tr.Live(now)
			now = p.run(tr, now, now.Add(20*time.Second))
		}
		if len(sink.gapList) != 0 || tr.InDoubt("p") {
			t.Errorf("answers after %v: gaps %v, in doubt %t", latency, sink.gapList, tr.InDoubt("p"))
		}
	}
}

// TestDoubtOutlastsAnEarlierAnswer: an answer to a question from before a fault does not say where the publisher stands
// after it.
func TestDoubtOutlastsAnEarlierAnswer(t *testing.T) {
	c, _ := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	sink := &gapList{}
	tr := track.New(&c, now, sink)
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 1}, "")
	tr.Fault(transport.Disconnected)
	tr.Live(now)
	now, _ = asks(t, tr, now, 1, 2*time.Second)
	tr.Answer(now, "p", track.Answer{N: 1, Assigned: 1, Age: time.Hour})
	if tr.InDoubt("p") {
		t.Fatal("the answer did not end the doubt")
	}
	tr.Fault(transport.Disconnected)
	tr.Live(now)
	now, _ = asks(t, tr, now, 2, 2*time.Second)
	tr.NackSent(now, "p", true)
	tr.Fault(transport.Disconnected) // the answer to 2 is on its way
	tr.Live(now)
	tr.Answer(now.Add(time.Second), "p", track.Answer{N: 2, Assigned: 1, Age: time.Hour})
	if now, _ = asks(t, tr, now.Add(time.Second), 3, 2*time.Second); !tr.InDoubt("p") {
		t.Fatal("an answer from before the fault ended the doubt")
	}
	tr.Answer(now, "p", track.Answer{N: 3, Assigned: 1, Age: time.Hour})
	if tr.InDoubt("p") || len(*sink) != 0 {
		t.Errorf("in doubt %t, gaps %v", tr.InDoubt("p"), *sink)
	}
}
