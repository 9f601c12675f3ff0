package track_test

import (
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// TestFirstContactForged: who forges a publisher's first number does not keep its own from being delivered.
func TestFirstContactForged(t *testing.T) {
	for _, with := range []bool{true, false} {
		c, _ := repairing(func() float64 { return 0 })
		if !with {
			c = cfg
		}
		now := time.Unix(1e6, 0)
		sink := &seqList{}
		tr := track.New(&c, now, sink)
		forged := uint64(1 << 40) // a number that somebody could have come to
		if !with {
			forged = 1 << 50 // nobody could
		}
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: forged}, "")
		for seq := uint64(5); seq < 8; seq++ {
			tr.Event(now, &transport.Envelope{Publisher: "p", Seq: seq}, "")
		}
		want := []uint64{0, 5, 6, 7}
		if with {
			for n := uint64(1); n < 3; n++ {
				now, _ = asks(t, tr, now, n, time.Second)
				tr.Answer(now, "p", track.Answer{N: n, Assigned: 7, Age: time.Hour})
			}
			want = []uint64{0, 5, 6, 7}
		}
		if !slices.Equal(sink.seqs, want) || len(sink.gapList) != 0 || tr.Holding() {
			t.Errorf("delivered %v, want %v, gaps %v", sink.seqs, want, sink.gapList)
		}
	}
}

// TestBaselineBehindAssigned: the answer at Subscribe says where a publisher begins; what was on its way then may come.
func TestBaselineBehindAssigned(t *testing.T) {
	c, _ := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	sink := &seqList{}
	tr := track.New(&c, now, sink)
	tr.Watermark(now, "p", track.Mark{Last: 40, Assigned: 44, Age: time.Hour, Asked: now})
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 43}, "") // in flight at the time
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 44}, "")
	tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 46}, "")
	var missing seqset.Set
	for range 10 {
		now = now.Add(10 * time.Millisecond)
		tr.CollectMissing(now, 1, func(_ string, m seqset.Set) { missing = m })
	}
	if !slices.Equal(sink.seqs, []uint64{43, 44}) || missing.String() != "45-46" || len(sink.gapList) != 0 {
		t.Errorf("delivered %v, asked for %v, gaps %v", sink.seqs, missing, sink.gapList)
	}
}

// TestSearchForTheBeginning: the first event heard of a publisher waits until it is known whether those before it concern
// the channel.
func TestSearchForTheBeginning(t *testing.T) {
	for _, c := range []struct {
		name    string
		age     time.Duration
		missing string
	}{{"born before", time.Hour, ""}, {"born after", 100 * time.Millisecond, "1-5"}, {"no answer", -1, ""}} {
		cfg, _ := repairing(func() float64 { return 0 })
		now := time.Unix(1e6, 0)
		sink := &seqList{}
		tr := track.New(&cfg, now, sink)
		now = now.Add(200 * time.Millisecond)
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 5}, "")
		if len(sink.seqs) != 0 {
			t.Fatalf("%s: delivered %v at once", c.name, sink.seqs)
		}
		now, _ = asks(t, tr, now, 1, time.Second)
		if c.age < 0 {
			tr.NackSent(now, "p", true)
			tr.Expire(now.Add(cfg.Repair.Timeout))
		} else {
			tr.Answer(now, "p", track.Answer{N: 1, Assigned: 5, Age: c.age})
		}
		missing := ""
		tr.CollectMissing(now.Add(time.Second), 2, func(_ string, m seqset.Set) { missing = m.String() })
		if missing != c.missing || (missing == "") != slices.Equal(sink.seqs, []uint64{5}) || len(sink.gapList) != 0 {
			t.Errorf("%s: delivered %v, asked for %q, gaps %v", c.name, sink.seqs, missing, sink.gapList)
		}
	}
}
