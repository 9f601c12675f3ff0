package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the module's directory, seen from that of the tests.
const root = "../.."

// file is one Go file of the module.
type file struct {
	path string // from the module's directory, with slashes
	fset *token.FileSet
	ast  *ast.File
}

func (f *file) dir() string         { return path.Dir(f.path) }
func (f *file) isTest() bool        { return strings.HasSuffix(f.path, "_test.go") }
func (f *file) in(r string) bool    { return within(f.dir(), r) }
func (f *file) isProgram() bool     { return f.ast.Name.Name == "main" }
func (f *file) isLibrary() bool     { return !f.isTest() && !f.isProgram() }
func (f *file) lines() int          { return f.fset.File(f.ast.FileStart).LineCount() }
func (f *file) line(n ast.Node) int { return f.fset.Position(n.Pos()).Line }

// finding says what is wrong at n.
func (f *file) finding(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.line(n), fmt.Sprintf(format, args...))
}

// within tells whether dir is parent or below it.
func within(dir, parent string) bool { return dir == parent || strings.HasPrefix(dir, parent+"/") }

// importName is the name by which the file uses an import; "" if it does not import it.
func (f *file) importName(importPath string) string {
	for _, spec := range f.ast.Imports {
		if strings.Trim(spec.Path.Value, `"`) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// parse makes a file of source text.
func parse(name string, src any) (*file, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, filepath.Join(root, filepath.FromSlash(name)), src,
		parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &file{path: name, fset: fset, ast: tree}, nil
}

// source reads every Go file of the module once.
var source = sync.OnceValues(func() (files []*file, err error) {
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && rel != "." && skipDir(name, entry.Name()):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		f, err := parse(filepath.ToSlash(rel), nil)
		files = append(files, f)
		return err
	})
	return files, err
})

// skipDir tells whether a directory is none of this module's: the go command does not
// see it, or it is a module of its own.
func skipDir(name, base string) bool {
	if base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil
}

// rule looks at one file and returns what is wrong with it.
type rule func(*file) []string

// check applies a rule to every file of the module.
func check(t *testing.T, r rule) {
	t.Helper()
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		for _, finding := range r(f) {
			t.Error(finding)
		}
	}
}

// wantFindings checks that a rule finds exactly the lines of src that end in "// BAD".
func wantFindings(t *testing.T, r rule, name, src string) {
	t.Helper()
	f, err := parse(name, src)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []int
	for i, line := range strings.Split(src, "\n") {
		if strings.HasSuffix(line, "// BAD") {
			want = append(want, i+1)
		}
	}
	for _, finding := range r(f) {
		var line int
		if _, err := fmt.Sscanf(strings.TrimPrefix(finding, name), ":%d:", &line); err != nil {
			t.Errorf("%q is not of the form file:line: what", finding)
		}
		got = append(got, line)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: found at lines %v, want %v", name, got, want)
	}
}
