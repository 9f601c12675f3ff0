package main

import "time"

func w7actors() *workload {
	return &workload{
		name: "W7actors", title: "100,000 idle actors, one a key, that handled one event each; each one's bytes, goroutines, ns to set up; idle CPU",
		metrics: []string{"bytes", "goroutines", "setup ns", "cpu %"}, events: w7Count, rounds: 3,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			r, ok := c.(residents)
			if !ok {
				return nil, false, nil
			}
			n = min(n, uint64(len(keyNames())))
			f, err := r.actors(keyNames()[:n])
			if err != nil {
				return nil, true, err
			}
			s, err := idling(f, int(n), limit, f.touch, func() bool { return f.touched() == n })
			return s, true, err
		},
		bars: []bar{
			{metric: "bytes", most: 300},
			{metric: "goroutines", most: 0},
		},
	}
}
