package faultlab

import (
	"context"
	"fmt"
	"time"
)

// Fault is something that happens to a cluster, or to those on it.
type Fault struct {
	Slug  string // its name on a command line
	Title string // its name in a table
	// Prepare, if not nil, makes the cluster such that the fault can happen. Events flow again before it does.
	Prepare func(ctx context.Context, s *Lab, round int) error
	// Inject does it for the round-th time, from 0.
	Inject func(ctx context.Context, s *Lab, round int) (Impact, error)
	// Mend, if not nil, undoes it when events flow again.
	Mend func(ctx context.Context, s *Lab) error
}

// Impact is what a fault did.
type Impact struct {
	Topics []int     // concerned; nil: all
	From   time.Time // from when on events may be missing. Zero: Began
	Began  time.Time // from when on the silence counts
	Known  time.Time // when the cluster had its new primary; zero if the primary stays
}

// Window is one fault of a run.
type Window struct {
	Impact
	Slug  string
	Ended time.Time // events flow, all is mended
}

// Run lets each of the faults happen, and that in as many rounds, and returns when that was. After each it waits until
// events flow again.
func (s *Lab) Run(ctx context.Context, faults []Fault, rounds int) (windows []Window, err error) {
	for round := range rounds {
		for _, f := range faults {
			w, err := s.One(ctx, f, round)
			if !w.Began.IsZero() {
				windows = append(windows, w)
			}
			if err != nil {
				return windows, fmt.Errorf("%s, round %d: %w", f.Slug, round+1, err)
			}
		}
	}
	return windows, nil
}

// rest is how long nothing happens between two faults, so that each has a before.
const rest = 300 * time.Millisecond

// injectTimeout bounds how long a fault may take to happen, the election of a new primary included.
const injectTimeout = 2 * time.Minute

// One lets one fault happen. After an error the window is what there was of it; it may be zero.
func (s *Lab) One(ctx context.Context, f Fault, round int) (w Window, err error) {
	start := time.Now()
	defer func() { w.Ended = time.Now() }()
	if f.Prepare != nil {
		if err := f.Prepare(ctx, s, round); err != nil {
			return w, fmt.Errorf("prepare: %w", err)
		}
		if err := s.flowing(ctx); err != nil {
			return w, fmt.Errorf("before it: %w", err)
		}
	}
	w.Slug = f.Slug
	injecting, cancel := s.within(ctx, injectTimeout)
	defer cancel()
	w.Impact, err = f.Inject(injecting, s, round)
	if w.From.IsZero() {
		w.From = w.Began
	}
	if err != nil {
		return w, err
	}
	if err := s.flowing(ctx); err != nil {
		return w, err
	}
	flowing := time.Now()
	if f.Mend != nil {
		if err := f.Mend(ctx, s); err != nil {
			return w, fmt.Errorf("mend: %w", err)
		}
		if err := s.flowing(ctx); err != nil {
			return w, fmt.Errorf("mended: %w", err)
		}
	}
	s.say("%s, round %d: on every topic again after %v, mended after %v", f.Slug, round+1,
		flowing.Sub(w.Began).Round(time.Millisecond), time.Since(start).Round(time.Millisecond))
	defer wait(ctx, rest) // behind the window
	return w, nil
}
