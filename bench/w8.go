package main

import "time"

// w8Nap is how long the handlers sleep that are not measured.
const w8Nap = time.Millisecond

func w8() *workload {
	return &workload{
		name: "W8", title: "as W5, beside sleeping handlers: on another topic, and on the same one with DropOldest; × is to undisturbed",
		metrics: []string{"p99 ×", "p50 ×", "p99", "p50", "alone p99", "alone p50"}, events: 10_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			d, ok := c.(disturber)
			if !ok {
				return nil, false, nil
			}
			alone, err := w8Round(func(subs []tally) (feed, error) { return d.fanOut(subs) }, n, limit)
			if err != nil {
				return nil, true, err
			}
			beside, err := w8Round(func(subs []tally) (feed, error) { return d.disturbed(&subs[0], w8Nap) }, n, limit)
			if err != nil {
				return nil, true, err
			}
			return sample{
				"p50": beside["p50"], "p99": beside["p99"], "alone p50": alone["p50"], "alone p99": alone["p99"],
				"p50 ×": beside["p50"] / alone["p50"], "p99 ×": beside["p99"] / alone["p99"],
			}, true, nil
		},
		bars: []bar{{metric: "p99 ×", most: 1.2}},
	}
}

func w8Round(start func(subs []tally) (feed, error), n uint64, limit time.Duration) (sample, error) {
	subs := newTallies(1, &latch{})
	f, err := start(subs)
	if err != nil {
		return nil, err
	}
	return pingPong(f, &subs[0], n, limit)
}
