package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/shardbus/shardbus/internal/faultlab"
)

// printMarkdown prints a table for each kind of run in the files.
func printMarkdown(out io.Writer, paths []string) error {
	var lines []line
	for _, path := range paths {
		more, err := readLines(path)
		if err != nil {
			return err
		}
		lines = append(lines, more...)
	}
	var kinds []conditions
	for _, l := range lines {
		if !slices.Contains(kinds, l.conditions) {
			kinds = append(kinds, l.conditions)
		}
	}
	slices.SortFunc(kinds, func(a, b conditions) int {
		if a.Rate != b.Rate {
			return b.Rate - a.Rate // saturation last
		}
		return a.Replicas - b.Replicas
	})
	for _, kind := range kinds {
		printKind(out, kind, slices.DeleteFunc(slices.Clone(lines), func(l line) bool { return l.conditions != kind }))
	}
	return nil
}

func readLines(path string) (lines []line, err error) {
	file, err := os.Open(path) // #nosec G304 -- a file the caller names.
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewScanner(file)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		lines = append(lines, l)
	}
	return lines, in.Err()
}

// printKind prints the table of one kind of run.
func printKind(out io.Writer, kind conditions, lines []line) {
	load := fmt.Sprintf("%d events a second of each", kind.Rate)
	if kind.Rate == 0 {
		load = "saturation, one after another"
	}
	fmt.Fprintf(out, "### %d replica(s) a primary, %s, %d topics\n\n", kind.Replicas, load, kind.Topics)
	fmt.Fprint(out, "| fault | times | new primary known | | first event again | largest hole of a topic | accepted | missing | told: lost + uncertain | silent | twice |\n")
	fmt.Fprint(out, "|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range allFaults() {
		first := true
		for _, e := range field() {
			var some []faultlab.Sample
			for _, l := range lines {
				if l.Sample != nil && l.Sample.Fault == f.Slug && l.Sample.Client == e.Name {
					some = append(some, *l.Sample)
				}
			}
			if len(some) == 0 {
				continue
			}
			g := sum(some)
			head := "| | | "
			if first {
				head = fmt.Sprintf("| %s | %d | %s", f.Title, g.n, g.known)
				first = false
			}
			name, told := e.Name, "–"
			if e.Numbered {
				told = fmt.Sprintf("%d + %d", g.lost, g.uncertain)
			}
			fmt.Fprintf(out, "%s | %s | %s | %s | %d | %d | %s | %d | %d |\n",
				head, name, g.first, g.hole, g.accepted, g.missing, told, g.silent, g.duplicates)
		}
	}
	fmt.Fprintln(out)
	for _, e := range field() {
		var all faultlab.Result
		runs := 0
		for _, l := range lines {
			if v := l.Totals; v != nil && l.Name == e.Name {
				runs++
				all.Accepted += v.Accepted
				all.Failed += v.Failed
				all.Missing += v.Missing
				all.Lost += v.Lost
				all.Uncertain += v.Uncertain
				all.Silent += v.Silent
				all.OverReported += v.OverReported
				all.WrongKind += v.WrongKind
				all.Duplicates += v.Duplicates
				all.Disorder += v.Disorder
				all.Orphaned += v.Orphaned
			}
		}
		if runs == 0 {
			continue
		}
		fmt.Fprintf(out, "- %s, %d runs: %d events accepted, %d Publish calls failed; %d missing (told: %d lost, %d uncertain; silent: %d), "+
			"%d more of publishers that were killed; %d over-reported, %d told of as the wrong kind, %d twice, %d out of order.\n",
			e.Name, runs, all.Accepted, all.Failed, all.Missing, all.Lost, all.Uncertain, all.Silent, all.Orphaned,
			all.OverReported, all.WrongKind, all.Duplicates, all.Disorder)
	}
	fmt.Fprintln(out)
}
