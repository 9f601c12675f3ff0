package main

import "time"

func w1() *workload {
	return &workload{
		name: "W1", title: "one producer, one subscriber; ns and bytes per event",
		metrics: []string{"ns", "cpu ns", "B"}, events: 300_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			return fanOut(c, 1, 1, n, limit, feed.produce)
		},
		bars: []bar{
			{metric: "ns", against: "channel", most: 0.8, stretch: 0.5},
			{metric: "ns", against: "kelindar/event", most: 1.1, stretch: 0.9},
			{metric: "B", most: 1},
		},
	}
}

// fanOut measures n events from a number of producers to each of so many
// subscriptions.
func fanOut(c contestant, producers, subscriptions int, n uint64, limit time.Duration, produce func(f feed, first, n uint64) error) (sample, bool, error) {
	fan, ok := c.(fanOuter)
	if !ok {
		return nil, false, nil
	}
	l := newLatch()
	subs := newTallies(subscriptions, l)
	f, err := fan.fanOut(subs)
	if err != nil {
		return nil, true, err
	}
	prepare := func(first, n uint64) *load {
		l.arm(len(subs))
		for i := range subs {
			subs[i].expect(n, sumOf(first, n))
		}
		ld := &load{latch: l, subs: subs}
		share := n / uint64(producers)
		for p := range uint64(producers) {
			from, count := first+p*share, share
			if p == uint64(producers)-1 {
				count = n - p*share
			}
			ld.producers = append(ld.producers, func() error { return produce(f, from, count) })
		}
		return ld
	}
	warm := max(n/4, min(n, 4*mailbox)) // fills every mailbox, so that it has grown to its bound
	s, err := measure(f, func() *load { return prepare(1, warm) }, func() *load { return prepare(1+warm, n) },
		n, n*uint64(subscriptions), limit)
	if producers > 1 {
		delete(s, "disorder") // between producers there is none
	}
	return s, true, err
}
