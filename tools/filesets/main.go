// Command filesets prints, for each package, the largest set of its files that all reach each other:
//
//	filesets [-max 12] [-all] PACKAGES
//
// File A refers to file B when A uses something that B declares: a function, a type, a method, a field, a constant, a
// variable. Two files reach each other when references lead from each of them to the other, directly or through more files.
// Such a set is read and changed as one: the smaller, the better. Tests are left out, because a test reaches what it tests.
//
// With -max it fails if a set is larger than that, and prints the references that would have to go for the set to fall apart.
// With -all it prints every reference inside of the set instead. A package may be excepted, in exceptions.go.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	maxFiles := flag.Int("max", 0, "fail if a set has more files than this (0: print, and fail never)")
	all := flag.Bool("all", false, "print every reference inside of the sets, the rarest first")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "usage: filesets [-max N] [-all] PACKAGES")
		os.Exit(2)
	}
	packages, err := load(flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "filesets:", err)
		os.Exit(2)
	}
	if !report(os.Stdout, packages, *maxFiles, *all, exceptions) {
		os.Exit(1)
	}
}

// report prints the largest set of each package, and tells whether all are within the bound or excepted.
func report(out io.Writer, packages []pkg, maxFiles int, all bool, excepted map[string]int) (ok bool) {
	ok = true
	for _, p := range packages {
		set := p.refs.largestSet()
		limit := maxFiles
		if size, found := excepted[p.path]; found {
			limit = size
		}
		verdict := ""
		switch {
		case maxFiles == 0:
		case len(set) > limit:
			verdict, ok = fmt.Sprintf(": %d are allowed", limit), false
		case limit > maxFiles && len(set) <= maxFiles:
			verdict, ok = ": its exception can go", false
		case limit > maxFiles && len(set) < limit:
			verdict = fmt.Sprintf(": its exception can become %d", len(set))
		}
		if maxFiles == 0 || verdict != "" {
			fmt.Fprintf(out, "%s: %d of %d files reach each other%s\n", p.path, len(set), p.files, verdict)
		}
		if all {
			printRefs(out, p.refs.inside(set))
		} else if maxFiles > 0 && len(set) > limit {
			fmt.Fprintln(out, "  without these references none of them would:")
			printRefs(out, p.refs.toCut(set))
		}
	}
	return ok
}

// printRefs prints references with what they use.
func printRefs(out io.Writer, refs []ref) {
	for _, r := range refs {
		fmt.Fprintf(out, "  %4d  %s → %s: %s\n", r.count, r.from, r.to, r.describe(6))
	}
}
