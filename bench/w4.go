package main

import (
	"math/rand/v2"
	"time"
)

const (
	w4Topics    = 10_000
	w4Producers = 4
)

func w4() *workload {
	return &workload{
		name: "W4", title: "10,000 topics of one subscriber, four producers, random topic; ns and bytes per event",
		metrics: []string{"ns", "cpu ns", "B"}, events: 60_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			t, ok := c.(topical)
			if !ok {
				return nil, false, nil
			}
			l := newLatch()
			subs := newTallies(w4Topics, l)
			f, err := t.topics(subs)
			if err != nil {
				return nil, true, err
			}
			s, err := routed(f, subs, l, w4Producers, 4*n, n, limit, func(rng *rand.Rand, _ int) uint32 {
				return uint32(rng.IntN(w4Topics))
			})
			delete(s, "disorder") // between producers there is none
			return s, true, err
		},
		bars: []bar{
			{metric: "ns", against: "channel", most: 1.1, stretch: 0.6},
			{metric: "ns", against: "protoactor", most: 0.3},
			{metric: "B", most: 1},
		},
	}
}

// routed measures n events, after warm others, from a number of producers, each
// to a topic or key that next chooses in advance.
func routed(f routedFeed, subs []tally, l *latch, producers int, warm, n uint64, limit time.Duration, next func(rng *rand.Rand, i int) uint32) (sample, error) {
	prepare := func(first, n uint64, seed uint64) *load {
		ld := &load{latch: l, subs: subs}
		counts, sums := make([]uint64, len(subs)), make([]uint64, len(subs))
		share := n / uint64(producers)
		for p := range uint64(producers) {
			from, count := first+p*share, share
			if p == uint64(producers)-1 {
				count = n - p*share
			}
			rng := rand.New(rand.NewPCG(seed, p))
			to := make([]uint32, count)
			for i := range to {
				to[i] = next(rng, i)
				counts[to[i]]++
				sums[to[i]] += from + uint64(i)
			}
			ld.producers = append(ld.producers, func() error { return f.produceTo(to, from) })
		}
		busy := 0
		for i := range subs {
			subs[i].expect(counts[i], sums[i])
			if counts[i] > 0 {
				busy++
			}
		}
		l.arm(busy)
		return ld
	}
	return measure(f, func() *load { return prepare(1, warm, 1) }, func() *load { return prepare(1+warm, n, 2) }, n, n, limit)
}
