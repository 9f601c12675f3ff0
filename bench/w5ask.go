package main

import (
	"fmt"
	"time"
)

func w5ask() *workload {
	return &workload{
		name: "W5ask", title: "request and reply, one in flight; ns a round trip",
		metrics: []string{"p50", "p99", "B"}, events: 20_000,
		round: func(c contestant, n uint64, limit time.Duration) (sample, bool, error) {
			a, ok := c.(asker)
			if !ok {
				return nil, false, nil
			}
			f, err := a.ask()
			if err != nil {
				return nil, true, err
			}
			s, err := timings(f, n, limit, func(id uint64) error {
				got, err := f.ask(event(id))
				if err == nil && got != id {
					err = fmt.Errorf("the reply to %d is %d", id, got)
				}
				return err
			})
			return s, true, err
		},
		bars: []bar{{metric: "p50", against: "channel", most: 1.5, stretch: 1.2}},
	}
}
