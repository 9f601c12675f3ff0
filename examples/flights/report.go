package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/shardbus/shardbus/bus"
)

// tableSize is how many airports the summary names.
const tableSize = 10

// writeCSV writes one row for each airport, in the order given.
func writeCSV(w io.Writer, airports []*airport) error {
	out := csv.NewWriter(w)
	rows := [][]string{{"origin", "departures", "late", "mean_delay", "max_delay"}}
	for _, a := range airports {
		rows = append(rows, []string{
			a.origin, strconv.Itoa(a.departures), strconv.Itoa(a.late),
			strconv.FormatFloat(a.meanDelay(), 'f', 2, 64), strconv.Itoa(a.maxDelay),
		})
	}
	return out.WriteAll(rows) // flushes
}

// writeSummary writes the busiest airports and the ledger, for people to read.
func writeSummary(w io.Writer, airports []*airport, ledger bus.Stats) error {
	top := busiest(airports, tableSize)
	fmt.Fprintf(w, "%d flights from %d airports; the busiest:\n\n", ledger.Handled, len(airports))
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "origin\tdepartures\tlate\tmean delay\tlargest\t")
	for _, a := range top {
		fmt.Fprintf(table, "%s\t%d\t%d\t%.2f\t%d\t\n", a.origin, a.departures, a.late, a.meanDelay(), a.maxDelay)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nledger: %v\n", ledger)
	return err
}
