package main

import (
	"fmt"
	"time"
)

// batchSize is how many events W1batch publishes at once.
const batchSize = 100

func w1batch() *workload {
	return &workload{
		name: "W1batch", title: "as W1, 100 events at once; the channel takes them one by one; ns and bytes per event",
		metrics: []string{"ns", "cpu ns", "B"}, events: 400_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			if _, ok := c.(batcher); !ok {
				return nil, false, nil
			}
			return fanOut(c, 1, 1, n, limit, func(f feed, first, n uint64) error {
				batches, ok := f.(batchFeed)
				if !ok {
					return fmt.Errorf("the feed of %s takes no batches", c.name())
				}
				return batches.produceBatch(first, n, batchSize)
			})
		},
		bars: []bar{
			{metric: "ns", against: "channel", most: 0.45, stretch: 0.25},
			{metric: "B", most: 1},
		},
	}
}
