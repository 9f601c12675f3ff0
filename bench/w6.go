package main

import (
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

const (
	w6Keys  = 100_000
	w6Lanes = 8
)

// keyNames are ready-made strings: nobody is timed making them.
var keyNames = sync.OnceValue(func() []string {
	keys := make([]string, w6Keys)
	for i := range keys {
		keys[i] = "customer-" + strconv.Itoa(i)
	}
	return keys
})

func w6() *workload {
	return &workload{
		name: "W6", title: "100,000 keys, order per key, 8 lanes, one producer; ns and bytes per event",
		metrics: []string{"ns", "cpu ns", "B"}, events: 200_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			k, ok := c.(keyer)
			if !ok {
				return nil, false, nil
			}
			l := newLatch()
			perKey := newTallies(w6Keys, l)
			f, err := k.keyed(w6Lanes, keyNames(), perKey)
			if err != nil {
				return nil, true, err
			}
			s, err := routed(f, perKey, l, 1, max(1, n/2), n, limit, func(_ *rand.Rand, i int) uint32 {
				return uint32(i % w6Keys) // in turn: the processor foresees them, and memory does not hide the queues
			})
			return s, true, err
		},
		bars: []bar{
			{metric: "ns", against: "channel", most: 1.0, stretch: 0.7},
			{metric: "ns", against: "protoactor", most: 0.05},
			{metric: "B", most: 1},
		},
	}
}
