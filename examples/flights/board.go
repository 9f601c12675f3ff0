package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// lateFrom is the delay, in minutes, from which a departure is late.
const lateFrom = 15

// airport is the account of one origin.
type airport struct {
	origin     string
	departures int
	late       int
	totalDelay int64
	maxDelay   int
	last       time.Time // the latest departure so far
}

func (a *airport) meanDelay() float64 { return float64(a.totalDelay) / float64(a.departures) }

// add counts f, unless it departed before a flight that was counted already.
func (a *airport) add(f Flight) error {
	if f.Date.Before(a.last) {
		return fmt.Errorf("%s: the dates go back from %s to %s",
			a.origin, a.last.Format(dateLayout), f.Date.Format(dateLayout))
	}
	if a.departures == 0 || f.Delay > a.maxDelay {
		a.maxDelay = f.Delay
	}
	if f.Delay >= lateFrom {
		a.late++
	}
	a.departures++
	a.totalDelay += int64(f.Delay)
	a.last = f.Date
	return nil
}

// board holds the airports. Lanes add to it at once, each to airports of its own: a key always has
// the same lane, so an airport needs no lock.
type board struct {
	source   string   // what errors name as the file
	airports sync.Map // origin → *airport
}

// depart is the handler of the topic.
func (b *board) depart(_ context.Context, f Flight) error {
	found, ok := b.airports.Load(f.Origin)
	if !ok {
		found, _ = b.airports.LoadOrStore(f.Origin, &airport{origin: f.Origin})
	}
	if err := found.(*airport).add(f); err != nil {
		return &rowError{file: b.source, line: f.Line, err: err}
	}
	return nil
}

// byOrigin lists the airports in the order of their names, once all flights are in.
func (b *board) byOrigin() []*airport {
	var list []*airport
	b.airports.Range(func(_, a any) bool {
		list = append(list, a.(*airport))
		return true
	})
	slices.SortFunc(list, func(a, b *airport) int { return cmp.Compare(a.origin, b.origin) })
	return list
}

// busiest lists the n airports with the most departures.
func busiest(airports []*airport, n int) []*airport {
	sorted := slices.Clone(airports)
	slices.SortStableFunc(sorted, func(a, b *airport) int { return cmp.Compare(b.departures, a.departures) })
	return sorted[:min(n, len(sorted))]
}
