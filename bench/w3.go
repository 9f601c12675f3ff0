package main

import "time"

func w3() *workload {
	return &workload{
		name: "W3", title: "eight producers, one subscriber; ns and bytes per event",
		metrics: []string{"ns", "cpu ns", "B"}, events: 300_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			return fanOut(c, 8, 1, n, limit, feed.produce)
		},
		bars: []bar{
			{metric: "ns", against: "channel", most: 0.7, stretch: 0.4},
			{metric: "ns", against: "kelindar/event", most: 0.8, stretch: 0.5},
			{metric: "B", most: 1},
		},
	}
}
