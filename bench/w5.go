package main

import "time"

func w5() *workload {
	return &workload{
		name: "W5", title: "one event in flight: ns from before Publish until its producer, which yields meanwhile, sees it handled",
		metrics: []string{"p50", "p99", "B"}, events: 20_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			fan, ok := c.(fanOuter)
			if !ok {
				return nil, false, nil
			}
			subs := newTallies(1, &latch{})
			f, err := fan.fanOut(subs)
			if err != nil {
				return nil, true, err
			}
			s, err := pingPong(f, &subs[0], n, limit)
			return s, true, err
		},
		bars: []bar{
			{metric: "p50", against: "channel", most: 1.1, stretch: 0.95},
			{metric: "p99", against: "channel", most: 1.2},
			{metric: "p50", against: "hollywood", most: 0.65},
		},
	}
}
