package sendwindow_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
	"pgregory.net/rapid"
)

// TestMemory drives windows at random beside a model that remembers everything: what a window says
// is true, what it forgot was beyond a limit, and the limits hold.
func TestMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := sendwindow.Limits{Events: 6, Bytes: 900, TotalEvents: 10, TotalBytes: 1500, Age: time.Minute}
		m := sendwindow.New(limits)
		type fate struct {
			doc string
			at  time.Time
		}
		type channel struct {
			*sendwindow.Window
			fates    map[uint64]fate
			assigned uint64
		}
		channels := make([]*channel, 3)
		for i := range channels {
			channels[i] = &channel{Window: m.Window(), fates: map[uint64]fate{}}
		}
		now := time.Unix(1e6, 0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "s")) * time.Second)
			c := channels[rapid.IntRange(0, len(channels)-1).Draw(t, "channel")]
			seq := c.assigned + 1
			if c.assigned > 0 && rapid.IntRange(0, 4).Draw(t, "order") == 0 { // settled late, or twice
				seq = rapid.Uint64Range(max(1, c.assigned-min(c.assigned, 3)), c.assigned+2).Draw(t, "seq")
			}
			c.assigned = max(c.assigned, seq)
			before, _ := c.Look(seq)
			doc := fmt.Sprintf("%d/%*d", seq, rapid.IntRange(1, 400).Draw(t, "size"), seq)
			if rapid.IntRange(0, 5).Draw(t, "void") == 0 {
				c.Declare(now, seq)
				doc = ""
			} else {
				c.Put(now, seq, append(make([]byte, 0, len(doc)+rapid.IntRange(0, 2000).Draw(t, "spare")), doc...))
			}
			if before == sendwindow.Open {
				c.fates[seq] = fate{doc: doc, at: now}
			}
			m.Expire(now)
			events := 0
			for _, c := range channels {
				mine := 0
				for seq := uint64(1); seq <= c.assigned+2; seq++ {
					got, doc := c.Look(seq)
					want, settled := c.fates[seq]
					switch {
					case got == sendwindow.Gone && seq >= c.Low(), got != sendwindow.Gone && seq < c.Low():
						t.Fatalf("%d is %d, low %d", seq, got, c.Low())
					case got == sendwindow.Gone:
						continue
					case got == sendwindow.Open && settled:
						t.Fatalf("%d was settled and is open", seq)
					case got == sendwindow.Sent && string(doc) != want.doc:
						t.Fatalf("%d is %q, want %q", seq, doc, want.doc)
					case got == sendwindow.Void && want.doc != "":
						t.Fatalf("%d is void, and was sent", seq)
					}
					if got != sendwindow.Open {
						mine++
						if now.Sub(want.at) > limits.Age {
							t.Fatalf("%d is %v old", seq, now.Sub(want.at))
						}
					}
				}
				if mine > limits.Events {
					t.Fatalf("a window holds %d", mine)
				}
				events += mine
			}
			if events != m.Events() || events > limits.TotalEvents || m.Bytes() > limits.TotalBytes {
				t.Fatalf("%d events, told %d, %d bytes", events, m.Events(), m.Bytes())
			}
		}
		for _, c := range channels {
			c.Drop()
		}
		if m.Events() != 0 || m.Bytes() != 0 {
			t.Fatalf("%d events, %d bytes are left of nothing", m.Events(), m.Bytes())
		}
	})
}

// A window that is within its limits forgets nothing.
func TestNothingIsForgottenWithinLimits(t *testing.T) {
	m := sendwindow.New(sendwindow.Limits{Events: 1000, Bytes: 1 << 20, TotalEvents: 1000, TotalBytes: 1 << 20, Age: time.Hour})
	w := m.Window()
	now := time.Unix(1e6, 0)
	for seq := uint64(1); seq <= 1000; seq++ {
		w.Put(now, seq, []byte("x"))
	}
	for seq := uint64(1); seq <= 1000; seq++ {
		if fate, _ := w.Look(seq); fate != sendwindow.Sent {
			t.Fatalf("%d: %d", seq, fate)
		}
	}
	// From then on each event pays for its place with the buffer of another.
	doc, next := []byte("y"), uint64(1001)
	if n := testing.AllocsPerRun(2000, func() {
		doc = w.Put(now, next, doc)
		next++
	}); n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}
