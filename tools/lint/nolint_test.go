package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"

	"golang.org/x/tools/go/analysis"
)

const sample = `package p

var a int //nolint:one // reason
var b int
var c int //nolint:two,one // reason
var d int //nolint:two // reason
`

// heardOf runs a linter that dislikes every variable, wrapped, on the sample as a file
// of the given name, and returns the lines it was heard to complain about.
func heardOf(t *testing.T, name string, wrap func(*analysis.Analyzer) *analysis.Analyzer) (lines []int) {
	t.Helper()
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, sample, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	dislikes := wrap(&analysis.Analyzer{Name: "one", Run: func(pass *analysis.Pass) (any, error) {
		for _, d := range pass.Files[0].Decls {
			pass.Reportf(d.Pos(), "a variable")
		}
		return "result", nil
	}})
	result, err := dislikes.Run(&analysis.Pass{
		Fset: fset, Files: []*ast.File{tree},
		Report: func(d analysis.Diagnostic) { lines = append(lines, fset.Position(d.Pos).Line) },
	})
	if err != nil || result != "result" {
		t.Errorf("got %v, %v", result, err)
	}
	return lines
}

func TestHonourNolint(t *testing.T) {
	if got, want := heardOf(t, "p.go", honourNolint), []int{4, 6}; !slices.Equal(got, want) {
		t.Errorf("heard of lines %v, want %v", got, want)
	}
}

func TestOutsideTests(t *testing.T) {
	if got, want := heardOf(t, "p.go", outsideTests), []int{3, 4, 5, 6}; !slices.Equal(got, want) {
		t.Errorf("heard of lines %v, want %v", got, want)
	}
	if got := heardOf(t, "p_test.go", outsideTests); got != nil {
		t.Errorf("in a test heard of lines %v", got)
	}
}
