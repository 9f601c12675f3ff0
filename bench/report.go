package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// reference is whom the ratio column of every table is to.
const reference = "channel"

// print writes the table of a workload: medians, with the quartiles of the first
// metric, and its ratio to the reference.
func (w *workload) print(out io.Writer, field []contestant, results map[string]*result) {
	fmt.Fprintf(out, "\n%s: %s\n", w.name, w.title)
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(tab, "  contestant")
	for _, m := range w.metrics {
		fmt.Fprintf(tab, "\t%s", m)
	}
	fmt.Fprintf(tab, "\t%s: quartiles\t÷ %s\tmarks\n", w.metrics[0], reference)
	base, hasBase := results[reference].median(w.metrics[0])
	for _, c := range field {
		r := results[c.name()]
		if r == nil {
			continue
		}
		fmt.Fprintf(tab, "  %s", c.name())
		if r.failure != nil {
			fmt.Fprintf(tab, "\tFAILED: %v\n", r.failure)
			continue
		}
		for _, m := range w.metrics {
			v, _ := r.median(m)
			fmt.Fprintf(tab, "\t%s", number(v))
		}
		first := r.samples[w.metrics[0]]
		fmt.Fprintf(tab, "\t%s–%s", number(quantile(first, 0.25)), number(quantile(first, 0.75)))
		if v, ok := r.median(w.metrics[0]); ok && hasBase && base > 0 {
			fmt.Fprintf(tab, "\t%.2f", v/base)
		} else {
			fmt.Fprint(tab, "\t")
		}
		marks := c.marks().String()
		if r.disorder && c.marks()&unordered == 0 {
			marks += " OUT OF ORDER"
		}
		fmt.Fprintf(tab, "\t%s\n", marks)
	}
	tab.Flush()
	for _, b := range w.bars {
		fmt.Fprintf(out, "  bar %-44s %s\n", b, b.judge(results).text)
	}
}

// count is how many bars were met, missed and not measured.
type count struct{ met, missed, unknown int }

func (n *count) add(v verdict) {
	switch {
	case !v.known:
		n.unknown++
	case v.met:
		n.met++
	default:
		n.missed++
	}
}
