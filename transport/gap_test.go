package transport_test

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

func TestGapExtends(t *testing.T) {
	base := transport.Gap{Topic: "n", Partition: 1, Publisher: "p", From: 3, To: 5, Count: 3, Reason: transport.Overflow}
	next := base
	next.From, next.To, next.Count, next.Since = 6, 9, 4, time.Unix(1, 0)
	if !base.Extends(next) {
		t.Error("the stretch right behind does not extend it")
	}
	for name, change := range map[string]func(g *transport.Gap){
		"a hole between":        func(g *transport.Gap) { g.From = 7 },
		"an overlap":            func(g *transport.Gap) { g.From = 5 },
		"the same":              func(g *transport.Gap) { g.From, g.To = 3, 5 },
		"the stretch before":    func(g *transport.Gap) { g.From, g.To = 1, 2 },
		"no numbers":            func(g *transport.Gap) { g.From, g.To = 0, 0 },
		"another topic":         func(g *transport.Gap) { g.Topic = "m" },
		"another partition":     func(g *transport.Gap) { g.Partition = 2 },
		"another publisher":     func(g *transport.Gap) { g.Publisher = "q" },
		"another incarnation":   func(g *transport.Gap) { g.Epoch = 7 },
		"another kind":          func(g *transport.Gap) { g.Kind = transport.Uncertain },
		"another reason":        func(g *transport.Gap) { g.Reason = transport.Disconnected },
		"the start of an epoch": func(g *transport.Gap) { g.From, g.To = 1, 1 },
	} {
		g := next
		change(&g)
		if base.Extends(g) {
			t.Errorf("%s extends it: %v, %v", name, base, g)
		}
	}

	unnumbered := transport.Gap{Topic: "n", Count: 3}
	if !unnumbered.Extends(transport.Gap{Topic: "n", Count: 1}) {
		t.Error("unnumbered events don't extend unnumbered events")
	}
	unmeasured := transport.Gap{Topic: "n", Publisher: "p", From: 6, Kind: transport.Uncertain}
	for name, pair := range map[string][2]transport.Gap{
		"nothing known behind a stretch": {base, unmeasured}, "a stretch behind nothing known": {unmeasured, next},
		"nothing known twice": {unmeasured, unmeasured}, "number 1": {unmeasured, {Topic: "n", Publisher: "p", From: 1, To: 1, Count: 1}},
	} {
		if pair[0].Extends(pair[1]) {
			t.Errorf("%s extends it: %v", name, pair)
		}
	}
	// Nobody knows whether number 1 is right behind an event without a number; told as one, the gap
	// would have To 1 and no From.
	if unnumbered.Extends(transport.Gap{Topic: "n", From: 1, To: 1, Count: 1}) {
		t.Error("a numbered event extends unnumbered events")
	}
}

func TestGapString(t *testing.T) {
	for _, tc := range []struct {
		gap  transport.Gap
		want string
	}{
		{
			transport.Gap{Topic: "n", Publisher: "p", From: 3, To: 5, Count: 3, Reason: transport.Overflow},
			"n: events 3 to 5 of publisher p lost (overflow)",
		},
		{
			transport.Gap{Topic: "n", Partition: 2, Publisher: "p", From: 3, To: 3, Count: 1, Kind: transport.Uncertain, Reason: transport.Disconnected},
			"n/2: events 3 to 3 of publisher p uncertain (disconnected)",
		},
		{
			transport.Gap{Topic: "n", Publisher: "p", From: 4, Kind: transport.Uncertain, Reason: transport.PublisherGone},
			"n: events of publisher p from 4 on uncertain, nobody knows how many (publisher gone)",
		},
		{
			transport.Gap{Topic: "n", Kind: transport.Uncertain, Reason: transport.Forgotten},
			"n: events of some publishers uncertain, nobody knows how many (forgotten)",
		},
		{transport.Gap{Topic: "n", Count: 7}, "n: 7 events lost (unknown)"},
		{transport.Gap{Topic: "n", From: 3, To: 9, Count: 5, Reason: transport.Trimmed}, "n: 5 events of offsets 3 to 9 lost (trimmed)"},
		{transport.Gap{Topic: "n", Count: 7, Reason: transport.WindowExceeded}, "n: 7 events lost (window exceeded)"},
		{transport.Gap{Topic: "n", Count: 7, Reason: transport.PublisherGone}, "n: 7 events lost (publisher gone)"},
		{transport.Gap{Topic: "n", Count: 7, Kind: 9, Reason: 99}, "n: 7 events GapKind(9) (GapReason(99))"},
	} {
		if got := tc.gap.String(); got != tc.want {
			t.Errorf("%q, want %q", got, tc.want)
		}
	}
}

// Size grows with all that an envelope holds: inboxes are bounded by it.
func TestEnvelopeSize(t *testing.T) {
	empty := (&transport.Envelope{}).Size()
	if empty <= 0 {
		t.Errorf("an empty envelope has size %d: an inbox would hold any number", empty)
	}
	for _, env := range []transport.Envelope{
		{Payload: make([]byte, 1000)},
		{Key: string(make([]byte, 1000))},
		{ID: string(make([]byte, 1000))},
		{Headers: transport.HeadersFromMap(map[string]string{"": string(make([]byte, 1000))})},
		{Headers: transport.HeadersFromMap(map[string]string{string(make([]byte, 1000)): ""})},
	} {
		if got := env.Size(); got < empty+1000 || got > empty+1100 {
			t.Errorf("size %d with 1,000 bytes, %d without", got, empty)
		}
	}
}
