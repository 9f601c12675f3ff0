package main

import (
	"go/token"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
)

var nolint = regexp.MustCompile(`^//nolint:([a-z0-9,]+)`)

// honourNolint is a without its findings on lines that a nolint comment excuses.
func honourNolint(a *analysis.Analyzer) *analysis.Analyzer {
	return filter(a, func(pass *analysis.Pass) func(token.Position) bool {
		excused := excusedLines(pass, a.Name)
		return func(line token.Position) bool { return !excused[line] }
	})
}

// outsideTests is a without its findings in test files.
func outsideTests(a *analysis.Analyzer) *analysis.Analyzer {
	return filter(a, func(*analysis.Pass) func(token.Position) bool {
		return func(line token.Position) bool { return !strings.HasSuffix(line.Filename, "_test.go") }
	})
}

// filter is a with only those findings on whose line keep is true.
func filter(a *analysis.Analyzer, keep func(*analysis.Pass) func(line token.Position) bool) *analysis.Analyzer {
	filtered := *a
	filtered.Run = func(pass *analysis.Pass) (any, error) {
		wanted := keep(pass)
		own := *pass
		own.Report = func(d analysis.Diagnostic) {
			if wanted(lineOf(pass, d.Pos)) {
				pass.Report(d)
			}
		}
		return a.Run(&own)
	}
	return &filtered
}

// excusedLines finds the lines whose comment excuses them from linter.
func excusedLines(pass *analysis.Pass, linter string) map[token.Position]bool {
	excused := make(map[token.Position]bool)
	for _, f := range pass.Files {
		for _, group := range f.Comments {
			for _, c := range group.List {
				named := nolint.FindStringSubmatch(c.Text)
				if named != nil && slices.Contains(strings.Split(named[1], ","), linter) {
					excused[lineOf(pass, c.Pos())] = true
				}
			}
		}
	}
	return excused
}

// lineOf is the line of a position, as a position.
func lineOf(pass *analysis.Pass, pos token.Pos) token.Position {
	p := pass.Fset.Position(pos)
	return token.Position{Filename: p.Filename, Line: p.Line}
}
