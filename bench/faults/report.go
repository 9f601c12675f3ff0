package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
)

// conditions is what a run was like.
type conditions struct {
	Replicas int
	Rate     int // 0: saturation
	Topics   int
}

// line is one line of the file that -out names: a sample, or the totals of a client.
type line struct {
	conditions
	Sample *faultlab.Sample `json:",omitempty"`
	Totals *faultlab.Result `json:",omitempty"`
	Name   string           `json:",omitempty"` // whose totals
}

// report checks every client, prints what was found, and fails if a promise was broken.
func (o options) report(s *faultlab.Lab, c conditions, windows []faultlab.Window) error {
	var broken []error
	var lines []line
	for _, t := range s.Clients {
		history, err := s.History(t)
		if err != nil {
			return err
		}
		v := history.Check()
		samples := history.Measure(v, windows)
		for i := range samples {
			lines = append(lines, line{conditions: c, Sample: &samples[i]})
		}
		lines = append(lines, line{conditions: c, Totals: &v, Name: t.Name})
		say("%s: %d accepted, %d failed; %d received (%d of them failed), %d missing: %d lost and %d uncertain, %d silent; "+
			"%d void, %d orphaned, %d over-reported, %d of the wrong kind, %d twice, %d out of order; %d outside faults; %d gaps without a length; reasons %v",
			t.Name, v.Accepted, v.Failed, v.Received, v.Late, v.Missing, v.Lost, v.Uncertain, v.Silent, v.Void, v.Orphaned, v.OverReported, v.WrongKind, v.Duplicates, v.Disorder, v.Elsewhere(windows),
			v.Unmeasured, history.Reasons())
		if t.Restarted() > 0 {
			say("%s: it was silent for so long that it was started afresh, %d times", t.Name, t.Restarted())
		}
		for _, text := range v.Broken {
			say("%s BROKE A PROMISE: %s", t.Name, text)
		}
		if len(v.Broken) > 0 {
			broken = append(broken, fmt.Errorf("%s broke promises", t.Name))
		}
		printSamples(samples)
	}
	return errors.Join(append(broken, o.write(lines))...)
}

// printSamples prints a line for each fault.
func printSamples(samples []faultlab.Sample) {
	for _, f := range allFaults() {
		var some []faultlab.Sample
		for _, s := range samples {
			if s.Fault == f.Slug {
				some = append(some, s)
			}
		}
		if len(some) == 0 {
			continue
		}
		g := sum(some)
		fmt.Printf("  %-16s %-20s ×%d  known %-16s first %-16s hole %-16s again %-14s missing %d (lost %d, uncertain %d, silent %d) of %d, twice %d\n",
			f.Slug, some[0].Client, len(some), g.known, g.first, g.hole, g.again,
			g.missing, g.lost, g.uncertain, g.silent, g.accepted, g.duplicates)
	}
}

// group is samples of one fault and client together.
type group struct {
	n                                                              int
	known, first, hole, again                                      span
	accepted, missing, lost, uncertain, silent, duplicates, faults int
}

func sum(samples []faultlab.Sample) group {
	g := group{n: len(samples)}
	for _, s := range samples {
		if s.Known > 0 {
			g.known = append(g.known, s.Known)
			g.again = append(g.again, s.Again)
		}
		g.first, g.hole = append(g.first, s.First), append(g.hole, s.Hole)
		g.accepted += s.Accepted
		g.missing += s.Missing
		g.lost += s.Lost
		g.uncertain += s.Uncertain
		g.silent += s.Silent
		g.duplicates += s.Duplicates
	}
	return g
}

// span is told as the median and the largest.
type span []time.Duration

func (s span) String() string {
	if len(s) == 0 {
		return "–"
	}
	sorted := slices.Sorted(slices.Values(s))
	median, largest := sorted[(len(sorted)-1)/2], sorted[len(sorted)-1]
	if len(s) == 1 {
		return short(median)
	}
	return short(median) + " (" + short(largest) + ")"
}

// short is a duration in three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	default:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	}
}

// write appends lines to the file that -out names.
func (o options) write(lines []line) (err error) {
	if o.out == "" {
		return nil
	}
	file, err := os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := json.NewEncoder(file)
	for _, l := range lines {
		if err := out.Encode(l); err != nil {
			return err
		}
	}
	return nil
}
