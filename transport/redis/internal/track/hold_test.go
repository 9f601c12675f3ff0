package track_test

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

type seqList struct {
	gapList
	seqs []uint64
}

func (l *seqList) Deliver(env *transport.Envelope) { l.seqs = append(l.seqs, env.Seq) }

func (l *seqList) Gap(g track.Gap) { l.gapList.Gap(g) }

// TestHeldIsBounded: beyond the bounds the first hole is given up, if the publisher has assigned what waits, and the last
// events have to be sent again.
func TestHeldIsBounded(t *testing.T) {
	size := (&transport.Envelope{Publisher: "p"}).Size()
	for name, change := range map[string]func(c *track.Config){
		"events": func(c *track.Config) { c.MaxHeld = 10 },
		"bytes":  func(c *track.Config) { c.Repair.MaxHeldBytes = 10 * size },
		"budget": func(c *track.Config) { c.Repair.Budget = track.NewBudget(10 * size) },
	} {
		c, _ := repairing(func() float64 { return 0 })
		change(&c)
		now := time.Unix(1e6, 0)
		sink := &seqList{}
		tr := track.New(&c, now, sink)
		tr.Watermark(now, "p", track.Mark{Assigned: 40, Asked: now})
		for seq := uint64(1); seq < 40; seq++ {
			if seq != 2 && seq != 20 {
				tr.Event(now, &transport.Envelope{Publisher: "p", Seq: seq}, "")
			}
		}
		if len(sink.gapList) != 1 || sink.gapList[0].From != 2 || len(sink.seqs) != 1 {
			t.Errorf("%s: delivered %v, gaps %v", name, sink.seqs, sink.gapList)
		}
		if c.Repair.Budget.Held() > 10*size {
			t.Errorf("%s: %d bytes", name, c.Repair.Budget.Held())
		}
		p := &peer{assigned: 40, accepted: map[uint64]bool{}, limit: 3}
		for seq := range p.assigned {
			p.accepted[seq+1] = true
		}
		for n := uint64(1); n < 100; n++ {
			now = now.Add(200 * time.Millisecond)
			tr.Watermark(now, "p", track.Mark{Last: 40})
			tr.CollectMissing(now, n, func(_ string, missing seqset.Set) { tr.Answer(now, "p", p.answer(n, missing)) })
			if c.Repair.Budget.Held() > 10*size {
				t.Errorf("%s: %d bytes", name, c.Repair.Budget.Held())
			}
		}
		if len(sink.seqs) != 39 || len(sink.gapList) != 1 {
			t.Errorf("%s: delivered %v, gaps %v", name, sink.seqs, sink.gapList)
		}
		tr.End()
		if c.Repair.Budget.Held() != 0 {
			t.Errorf("%s: %d bytes are left", name, c.Repair.Budget.Held())
		}
	}
}

// TestPublishersThatCannotBeAsked are treated as without repair.
func TestPublishersThatCannotBeAsked(t *testing.T) {
	c, _ := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	sink := &seqList{}
	tr := track.New(&c, now, sink)
	tr.Event(now, &transport.Envelope{Publisher: "mute", Seq: 1}, "")
	tr.Event(now, &transport.Envelope{Publisher: "mute", Seq: 3}, "")
	tr.CollectMissing(now.Add(time.Hour), 1, func(string, seqset.Set) { t.Error("it is asked") })
	tr.Expire(now.Add(c.Hold))
	if len(sink.gapList) != 1 || sink.gapList[0].Reason != transport.Unknown {
		t.Errorf("%v", sink.gapList)
	}
}
