// Command lint is a vet tool: the linters that the go command lacks, in one program
// that `go vet -vettool` runs on each package once, and not again until it changes.
//
//	errorlint   errors are compared by errors.Is and errors.As
//	exhaustive  a switch over an enumeration names every value, or has a default
//	noctx       what can take a context is given one
//	usetesting  tests use what testing.T gives them
//
// A line is left alone that ends in a comment of the form
//
//	//nolint:errorlint // the reason
package main

import (
	"github.com/ldez/usetesting"
	"github.com/nishanths/exhaustive"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"github.com/sonatard/noctx"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
)

func main() {
	unitchecker.Main(
		honourNolint(outsideTests(errorlint.NewAnalyzer())),                // a test may want the very error
		honourNolint(outsideTests(with(exhaustive.Analyzer, "d", "true"))), // a default says that the rest was thought of
		honourNolint(noctx.Analyzer),
		honourNolint(usetesting.NewAnalyzer()),
	)
}

// with sets a flag of an analyzer that always has it.
func with(a *analysis.Analyzer, flag, value string) *analysis.Analyzer {
	if err := a.Flags.Set(flag, value); err != nil {
		panic(err) // a newer version of the analyzer dropped the flag
	}
	return a
}
