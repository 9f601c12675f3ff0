package track_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// chain takes down what is delivered, and what was asked for last.
type chain struct {
	gapList
	ids   []string
	asked string
}

func (c *chain) Deliver(env *transport.Envelope) { c.ids = append(c.ids, env.ID) }
func (c *chain) Gap(g track.Gap)                 { c.gapList.Gap(g) }

// question passes time until there is one.
func (c *chain) question(t *testing.T, tr *track.Tracker, now time.Time, n uint64) time.Time {
	t.Helper()
	c.asked = ""
	for range 100 {
		now = now.Add(10 * time.Millisecond)
		tr.CollectMissing(now, n, func(_ string, missing seqset.Set) { c.asked = missing.String() })
		if c.asked != "" {
			return now
		}
	}
	t.Fatal("nobody is asked")
	return now
}

// TestBehindAnAnswer: an event that arrives right behind numbers that an answer settled, and that wait, is a forger's or
// not: the answer does not tell. Its publisher is asked for it, and what that sends is delivered.
func TestBehindAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name   string
		settle func(a *track.Answer) // number 4
		want   []string
	}{
		{"event", func(a *track.Answer) { a.Events = []track.Event{{Env: chained(4, "own4")}} }, []string{"own1", "own2", "own3", "own4", "own5", "own6"}},
		{"void", func(a *track.Answer) { a.Void = seqset.Set{{From: 4, To: 4}} }, []string{"own1", "own2", "own3", "own5", "own6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg, budget := repairing(func() float64 { return 0 })
			now := time.Unix(1e6, 0)
			got := &chain{}
			tr := track.New(&cfg, now, got)
			tr.Event(now, chained(1, "own1"), "")
			tr.Event(now, chained(3, "forged3"), "")
			tr.Watermark(now, "p", track.Mark{Last: 6})
			now = got.question(t, tr, now, 1)
			partly := track.Answer{N: 1, Assigned: 6}
			c.settle(&partly)
			tr.Answer(now, "p", partly)
			tr.Event(now, chained(5, "forged5"), "")
			now = got.question(t, tr, now, 2)
			if got.asked != "2-3,5-6" {
				t.Errorf("asked for %s", got.asked)
			}
			rest := track.Answer{N: 2, Assigned: 6}
			asked, _ := seqset.Parse(got.asked)
			for _, r := range asked {
				for seq := r.From; seq <= r.To; seq++ {
					rest.Events = append(rest.Events, track.Event{Env: chained(seq, fmt.Sprint("own", seq))})
				}
			}
			tr.Answer(now, "p", rest)
			if !slices.Equal(got.ids, c.want) || len(got.gapList) != 0 || tr.Holding() || budget.Held() != 0 {
				t.Errorf("delivered %v, gaps %v, %d bytes held", got.ids, got.gapList, budget.Held())
			}
		})
	}
}

func chained(seq uint64, id string) *transport.Envelope {
	return &transport.Envelope{Publisher: "p", Seq: seq, ID: id}
}

// TestChainedToItsHead: events that came on the channel one behind the other wait for one answer, about the first.
func TestChainedToItsHead(t *testing.T) {
	cfg, _ := repairing(func() float64 { return 0 })
	now := time.Unix(1e6, 0)
	got := &chain{}
	tr := track.New(&cfg, now, got)
	for _, seq := range []uint64{1, 3, 4, 5} {
		tr.Event(now, chained(seq, ""), "")
	}
	now = got.question(t, tr, now, 1)
	if got.asked != "2-3" {
		t.Errorf("asked for %s", got.asked)
	}
	tr.Answer(now, "p", track.Answer{N: 1, Assigned: 5, Events: []track.Event{{Env: chained(2, "")}, {Env: chained(3, "")}}})
	if len(got.ids) != 5 || tr.Holding() {
		t.Errorf("%d delivered", len(got.ids))
	}
}
