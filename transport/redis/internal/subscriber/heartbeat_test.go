package subscriber

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHeartbeat drives the decisions through every kind of luck: a connection on which something arrives, or whose channel
// is away, is never dead; one that is deaf is found so within the bound, whatever happened before.
func TestHeartbeat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := heartbeat{every: time.Duration(rapid.IntRange(10, 5000).Draw(t, "every")) * time.Millisecond,
			timeout: time.Duration(rapid.IntRange(10, 5000).Draw(t, "timeout")) * time.Millisecond}
		now := time.Unix(1000, 0)
		s := observation{confirmed: true}
		// look passes the time until the next look, sometimes far too much, as in a process that was stopped.
		look := func() error {
			now = now.Add(p.wait(now))
			if rapid.IntRange(0, 9).Draw(t, "late") == 0 {
				now = now.Add(time.Hour)
			}
			send, _, dead := p.look(now, s)
			if send && rapid.Bool().Draw(t, "fails") {
				p.failed(p.number)
			}
			return dead
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"accepted", "echo", "data", "away", "back", "zero", "hurry", "quiet"}).Draw(t, "step") {
			case "accepted":
				p.accepted(now, p.number, 1)
				s.echo = p.number // it arrives, sooner or later
			case "echo":
				s.echo = p.number
			case "data":
				s.heard++
			case "away":
				s.confirmed = false
			case "back":
				s.confirmed = true
			case "zero": // once, as when a slot changes hands
				if p.out {
					p.accepted(now, p.number, 0)
					s.confirmed = false
				}
			case "hurry":
				p.hurry()
			case "quiet":
			}
			if dead := look(); dead != nil {
				t.Fatalf("a connection that hears is dead: %v, %+v, %+v", dead, p, s)
			}
		}
		// From here on nothing arrives. A probe that failed may take its interval once more.
		s.confirmed = true
		deaf := rapid.Bool().Draw(t, "deaf")
		began, looks := now, 0
		for {
			now = now.Add(p.wait(now))
			send, _, dead := p.look(now, s)
			if dead != nil {
				if want := map[bool]error{true: errNotReceiving, false: errNoReceivers}[deaf]; dead != want { //nolint:errorlint // pure
					t.Fatalf("%v, want %v", dead, want)
				}
				break
			}
			if send && deaf {
				p.accepted(now, p.number, 1)
			} else if send {
				p.accepted(now, p.number, 0)
			}
			if looks++; looks > 100 {
				t.Fatalf("nothing is noticed: %+v", p)
			}
		}
		if took, limit := now.Sub(began), p.every+2*p.timeout; took > limit {
			t.Fatalf("noticed after %v, want %v at most", took, limit)
		}
	})
}

func TestHeartbeatIsPatientWhileDataArrives(t *testing.T) {
	p := heartbeat{every: time.Second, timeout: time.Second}
	now := time.Unix(1000, 0)
	s := observation{confirmed: true}
	if send, _, _ := p.look(now, s); !send {
		t.Fatal("no probe at first")
	}
	p.accepted(now, p.number, 1)
	late := false
	for range 1000 {
		now = now.Add(p.wait(now))
		s.heard++
		_, behind, dead := p.look(now, s)
		if dead != nil {
			t.Fatal(dead)
		}
		late = late || behind
	}
	if !late {
		t.Error("a probe that is late for minutes is not told of")
	}
	for range maxMissedLooks - 1 {
		now = now.Add(p.wait(now))
		if _, _, dead := p.look(now, s); dead != nil {
			t.Fatal("dead too early")
		}
	}
	now = now.Add(p.wait(now))
	if _, _, dead := p.look(now, s); dead != errNotReceiving { //nolint:errorlint // pure
		t.Errorf("%v, want %v", dead, errNotReceiving)
	}
}
