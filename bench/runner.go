package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/bench/internal/cputime"
)

// config is what a run was asked for.
type config struct {
	rounds int
	events uint64 // 0: as each workload says
	limit  time.Duration
}

// sample is what one round measured, by the name of the metric.
type sample map[string]float64

// workload is what is measured.
type workload struct {
	name    string
	title   string
	metrics []string // columns of its table
	events  uint64   // in a round
	rounds  int      // at most; 0: as many as asked for
	// round runs one contestant once; ran is false when it does not take part.
	round func(c contestant, n uint64, limit time.Duration) (s sample, ran bool, err error)
	bars  []bar
}

// result is all rounds of one contestant in one workload.
type result struct {
	samples  map[string][]float64
	failure  error
	disorder bool
}

func (r *result) median(metric string) (float64, bool) {
	if r == nil || r.failure != nil || len(r.samples[metric]) == 0 {
		return 0, false
	}
	return quantile(r.samples[metric], 0.5), true
}

// quantile is that of unsorted values, between the two nearest.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// errLate is a round that did not end in time.
var errLate = errors.New("timed out")

// run measures w: the contestants take turns, and a different one begins each
// round. Who fails once takes no further turn.
func (w *workload) run(field []contestant, cfg config) map[string]*result {
	results := make(map[string]*result)
	rounds := cfg.rounds
	if w.rounds > 0 {
		rounds = min(rounds, w.rounds)
	}
	for r := range rounds {
		for i := range field {
			c := field[(r+i)%len(field)]
			res := results[c.name()]
			if res != nil && res.failure != nil {
				continue
			}
			n := w.events
			if cfg.events > 0 {
				n = cfg.events
			}
			runtime.GC() // nobody pays for another's garbage
			s, ran, err := w.round(c, max(1, n/c.slower()), cfg.limit)
			if !ran {
				continue
			}
			if res == nil {
				res = &result{samples: make(map[string][]float64)}
				results[c.name()] = res
			}
			res.failure = err
			for metric, v := range s {
				res.samples[metric] = append(res.samples[metric], v)
			}
			res.disorder = res.disorder || s["disorder"] > 0
		}
	}
	return results
}

// load is one timed stretch: what each producer does, and what it shall lead to.
type load struct {
	producers []func() error
	latch     *latch
	subs      []tally
}

// finish starts the producers and waits until every event was handled.
func (l *load) finish(limit time.Duration) (time.Duration, error) {
	errs := make(chan error, len(l.producers))
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var producers sync.WaitGroup
	start := time.Now()
	for _, produce := range l.producers {
		producers.Go(func() {
			if err := produce(); err != nil {
				errs <- err
			}
		})
	}
	select {
	case <-l.latch.open:
		took := time.Since(start)
		producers.Wait()
		return took, nil
	case err := <-errs:
		return 0, err
	case <-timer.C:
		return 0, fmt.Errorf("%w after %v: %d of %d queues or keys did not get all of their events",
			errLate, limit, l.latch.left.Load(), len(l.subs))
	}
}

// measure runs warm untimed, then what l makes timed, and ends s. events is how
// many the timed load publishes, deliveries how often handlers are called for it.
func measure(s stopper, warm, l func() *load, events, deliveries uint64, limit time.Duration) (sample, error) {
	took, cpu, bytes, timed, err := measureRunning(warm, l, limit)
	if stopErr := stopWithin(s, limit); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, err
	}
	disorder := 0.0
	for i := range timed.subs { // now that nothing comes any more
		if err := timed.subs[i].verify(); err != nil {
			return nil, err
		}
		disorder += float64(timed.subs[i].disorder)
	}
	return sample{
		"ns":       float64(took.Nanoseconds()) / float64(deliveries),
		"cpu ns":   float64(cpu.Nanoseconds()) / float64(deliveries),
		"B":        float64(bytes) / float64(events),
		"disorder": disorder,
	}, nil
}

func measureRunning(warm, l func() *load, limit time.Duration) (took, cpu time.Duration, bytes uint64, timed *load, err error) {
	if _, err := warm().finish(limit); err != nil {
		return 0, 0, 0, nil, fmt.Errorf("warming up: %w", err)
	}
	timed = l()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu = cputime.Used()
	if took, err = timed.finish(limit); err != nil {
		return 0, 0, 0, nil, err
	}
	cpu = cputime.Used() - cpu
	runtime.ReadMemStats(&after)
	return took, cpu, after.TotalAlloc - before.TotalAlloc, timed, nil
}

// stopWithin ends s, but does not wait for ever for one that hangs: that is left
// behind, and its contestant has no further round.
func stopWithin(s stopper, limit time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		return fmt.Errorf("%w: did not stop within %v", errLate, limit)
	}
}
