package main

import (
	"fmt"
	"time"
)

func w2(subscriptions int) *workload {
	w := &workload{
		name:    fmt.Sprintf("W2×%d", subscriptions),
		title:   fmt.Sprintf("one producer, %d subscribers of one topic; ns per delivery, bytes per event", subscriptions),
		metrics: []string{"ns", "cpu ns", "B"}, events: uint64(600_000 / subscriptions),
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			return fanOut(c, 1, subscriptions, n, limit, feed.produce)
		},
		bars: []bar{{metric: "ns", against: "kelindar/event", most: 0.6, stretch: 0.4}, {metric: "B", most: 1}},
	}
	if subscriptions < 100 {
		w.bars[0] = bar{metric: "ns", against: "kelindar/event", most: 1.4, stretch: 1.0}
	}
	return w
}
