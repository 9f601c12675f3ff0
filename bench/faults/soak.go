package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/transport/redis"
)

// soakRate is the events a second of each client in a soak.
const soakRate = 2000

// warmUpTime is how long it takes until what publishers remember for Repair has its full age: it fills with the time.
const warmUpTime = redis.DefaultRepairAge + 5*time.Second

// Growth that is still flat: a process has more goroutines while a connection is being made, and the heap of a Go
// program is not the same twice.
const (
	goroutinesSlack = 60
	heapSlack       = 16 << 20
)

// soak lets faults that the seed chooses happen in a row, and compares the histories and the memory in the end.
func soak(ctx context.Context, o options) (err error) {
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	pool, err := chosen(soakable(), o.faults, func(f faultlab.Fault) string { return f.Slug })
	if err != nil {
		return err
	}
	who, err := chosen(field(), o.who, func(e entry) string { return e.Name })
	if err != nil {
		return err
	}
	if o.who == "" {
		who = who[:len(modes)]
	}
	o.rate = soakRate
	var faults []faultlab.Fault
	var slugs []string
	for range o.soak {
		f := pool[random.IntN(len(pool))]
		faults, slugs = append(faults, f), append(slugs, f.Slug)
	}
	say("seed %d: %s", o.seed, strings.Join(slugs, " "))
	return o.inLab(ctx, 1, o.clients(who), func(s *faultlab.Lab) error {
		pause(ctx, warmUpTime)
		before, err := s.Memory(ctx)
		if err != nil {
			return err
		}
		var windows []faultlab.Window
		var errs []error
		for i, f := range faults {
			w, err := s.One(ctx, f, i)
			if err != nil {
				errs = append(errs, fmt.Errorf("fault %d, %s: %w", i+1, f.Slug, err))
				break
			}
			windows = append(windows, w)
		}
		pause(ctx, 2*time.Second)
		after, err := s.Memory(ctx)
		errs = append(errs, err)
		for name, m := range after {
			was := before[name]
			say("%s: goroutines %d, then %d; heap %.1f MB, then %.1f MB", name, was.Goroutines, m.Goroutines,
				float64(was.Heap)/1e6, float64(m.Heap)/1e6)
			if m.Goroutines > was.Goroutines+goroutinesSlack || m.Heap > was.Heap+heapSlack {
				errs = append(errs, fmt.Errorf("%s grew", name))
			}
		}
		errs = append(errs, s.Finish(ctx), o.report(s, conditions{Replicas: 1, Rate: soakRate, Topics: o.topics}, windows))
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("seed %d: %w", o.seed, err)
		}
		return nil
	})
}

// soakable is the faults a soak chooses from: all that leave the cluster with the nodes it had.
func soakable() []faultlab.Fault {
	return []faultlab.Fault{
		faultlab.Kill9, faultlab.Kill9Replica, faultlab.Kill9Publisher, faultlab.SIGSTOP, faultlab.Pause, faultlab.HungReplica, faultlab.Graceful,
		faultlab.TakeOver, faultlab.MigrateOne, faultlab.MigrateThousand, faultlab.MoveReplica, faultlab.ClientKill, faultlab.OutputBuffer,
		faultlab.ScriptFlush, faultlab.OOM,
	}
}
