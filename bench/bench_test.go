package main

import (
	"strings"
	"testing"
	"time"
)

// TestEverybodyDelivers runs every contestant once in every workload: each event
// is handled once, in order but for those that are marked otherwise.
func TestEverybodyDelivers(t *testing.T) {
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			for _, c := range field() {
				t.Run(c.name(), func(t *testing.T) {
					s, ran, err := w.round(c, 2000, 20*time.Second)
					if !ran {
						t.Skip("takes no part")
					}
					if err != nil && c.marks()&drops == 0 {
						t.Fatal(err)
					}
					if s["disorder"] > 0 && c.marks()&unordered == 0 {
						t.Errorf("%v events out of order", s["disorder"])
					}
					for _, m := range w.metrics {
						if _, ok := s[m]; !ok {
							t.Errorf("no %s was measured", m)
						}
					}
				})
			}
		})
	}
}

// brokenFeed loses, repeats or swaps events, or hangs.
type brokenFeed struct {
	t      *tally
	mangle func(t *tally, first, n uint64)
}

func (f *brokenFeed) produce(first, n uint64) error {
	f.mangle(f.t, first, n)
	return nil
}

func (f *brokenFeed) stop() error { return nil }

type broken struct {
	mangle func(t *tally, first, n uint64)
}

func (broken) name() string                        { return "broken" }
func (broken) marks() marks                        { return 0 }
func (broken) slower() uint64                      { return 1 }
func (b broken) fanOut(subs []tally) (feed, error) { return &brokenFeed{&subs[0], b.mangle}, nil }

// TestBrokenIsFound: the checks of a round bite.
func TestBrokenIsFound(t *testing.T) {
	send := func(t *tally, ids ...uint64) {
		for _, id := range ids {
			t.handle(&Event{ID: id})
		}
	}
	for _, tc := range []struct {
		name, want string
		mangle     func(t *tally, first, n uint64)
	}{
		{"drops the last", "timed out", func(t *tally, first, n uint64) {
			for id := first; id < first+n-1; id++ {
				send(t, id)
			}
		}},
		{"one twice, one not", "ID sum", func(t *tally, first, n uint64) {
			for id := first; id < first+n-1; id++ {
				send(t, id)
			}
			send(t, first)
		}},
		{"one too many", "handled", func(t *tally, first, n uint64) {
			for id := first; id < first+n; id++ {
				send(t, id)
			}
			send(t, first)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := w1().round(broken{tc.mangle}, 100, 100*time.Millisecond)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	s, _, err := w1().round(broken{func(t *tally, first, n uint64) {
		for i := range n {
			send(t, first+n-1-i)
		}
	}}, 100, time.Second)
	if err != nil || s["disorder"] == 0 {
		t.Errorf("backwards: disorder %v, error %v", s["disorder"], err)
	}
}

func TestBarsJudge(t *testing.T) {
	of := func(v float64) *result { return &result{samples: map[string][]float64{"ns": {v, v, v}}} }
	results := map[string]*result{"shardbus": of(45), "channel": of(100)}
	results["wavering"] = &result{samples: map[string][]float64{"ns": {45, 100, 20}}}
	for _, tc := range []struct {
		bar        bar
		text       string
		met, known bool
	}{
		{bar{metric: "ns", against: "channel", most: 0.8, stretch: 0.5}, "met, stretch too: 0.45×, in its rounds 0.45–0.45", true, true},
		{bar{metric: "ns", against: "channel", most: 0.8, stretch: 0.4}, "met: 0.45×, in its rounds 0.45–0.45", true, true},
		{bar{metric: "ns", against: "channel", most: 0.4}, "MISSED: 0.45×, in its rounds 0.45–0.45", false, true},
		{bar{metric: "ns", against: "wavering", most: 1}, "met: 1.00×, in its rounds 0.73–1.62: UNSETTLED", true, true},
		{bar{metric: "ns", most: 50}, "met: 45.0", true, true},
		{bar{metric: "ns", against: "nobody", most: 1}, "not measured: no figure of nobody", false, false},
	} {
		if v := tc.bar.judge(results); v != (verdict{text: tc.text, met: tc.met, known: tc.known}) {
			t.Errorf("%v: %+v", tc.bar, v)
		}
	}
}

// A soak ends with flat memory, balanced ledgers and every actor stopped.
func TestSoak(t *testing.T) {
	if err := runSoak(t.Output(), 200_000, time.Minute); err != nil {
		t.Error(err)
	}
}
