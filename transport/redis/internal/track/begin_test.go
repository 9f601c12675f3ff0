package track_test

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// TestBeginIsBelieved: where a publisher's stream begins is known in its own process, however young
// it is: what was lost before anything was heard of it is missing. A channel that is live while it
// runs begins behind what was assigned.
func TestBeginIsBelieved(t *testing.T) {
	now := time.Unix(1e6, 0)
	tail := track.Mark{Last: 5, Age: time.Millisecond} // younger than the margin: nobody else could tell
	t.Run("new", func(t *testing.T) {
		l := newLedger(t)
		tr := track.New(&cfg, now, l)
		tr.Begin(now, "p", 1, 1)
		tr.Watermark(now, "p", tail)
		tr.Expire(now.Add(time.Minute))
		if len(l.missing) != 5 {
			t.Errorf("%d of 5 are missing", len(l.missing))
		}
	})
	t.Run("running", func(t *testing.T) {
		l := newLedger(t)
		tr := track.New(&cfg, now, l)
		tr.Begin(now, "p", 4, 4)
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 5}, "")
		tr.Expire(now.Add(time.Second))
		if !l.missing[4] || !l.received[5] || len(l.missing) != 1 {
			t.Errorf("missing %v, received %v", l.missing, l.received)
		}
	})
	t.Run("heard of first", func(t *testing.T) {
		l := newLedger(t)
		c, _ := repairing(func() float64 { return 0 })
		tr := track.New(&c, now, l)
		tr.Event(now, &transport.Envelope{Publisher: "p", Seq: 3}, "") // it is searched for the beginning
		tr.Begin(now, "p", 1, 1)
		now := now.Add(time.Second)
		asked := "" // for 3 too, which may be forged
		tr.CollectMissing(now, 1, func(_ string, missing seqset.Set) { asked = missing.String() })
		if asked != "1-3" {
			t.Errorf("asked for %q", asked)
		}
	})
}
