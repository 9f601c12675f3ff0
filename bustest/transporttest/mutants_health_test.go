package transporttest_test

import (
	"errors"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var healthMutants = []mutant{
	{
		name: "is well while nobody serves it", meant: "health",
		health: func(r *reference, next func() transport.Health) transport.Health {
			if h := next(); len(h.Down) == 0 || !errors.Is(h.Down[0].Err, transport.ErrNotServing) {
				return h
			}
			return transport.Health{}
		},
	},
	{
		name: "is never well", meant: "health",
		health: func(*reference, func() transport.Health) transport.Health { return downFor(errors.New("who knows")) },
	},
	{
		name: "is well although it is cut off", meant: "health-cut-off",
		health: func(r *reference, next func() transport.Health) transport.Health {
			r.mu.Lock()
			cut := r.mended != nil
			r.mu.Unlock()
			if cut {
				return transport.Health{}
			}
			return next()
		},
	},
	{
		name: "is not well again", meant: "health-cut-off",
		health: func(r *reference, next func() transport.Health) transport.Health {
			r.mu.Lock()
			mends := r.state.mends
			r.mu.Unlock()
			if mends > 0 {
				return downFor(errors.New("it was cut off"))
			}
			return next()
		},
	},
	{
		name: "waits until it is well", meant: "health-cut-off",
		health: func(r *reference, next func() transport.Health) transport.Health {
			r.mu.Lock()
			mended := r.mended
			r.mu.Unlock()
			if mended != nil {
				select {
				case <-mended:
				case <-r.release:
				}
			}
			return next()
		},
	},
	{
		name: "does not say why it is not well", meant: "health",
		health: func(_ *reference, next func() transport.Health) transport.Health {
			h := next()
			for i := range h.Down {
				h.Down[i].Err = nil
			}
			return h
		},
	},
	{
		name: "knows tomorrow's faults", meant: "health",
		health: func(_ *reference, next func() transport.Health) transport.Health {
			h := next()
			for i := range h.Down {
				h.Down[i].Since = time.Now().Add(24 * time.Hour)
			}
			return h
		},
	},
}
