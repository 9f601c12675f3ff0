package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"testing"
)

// promised are methods whose contract is that of an interface everybody knows.
var promised = []string{"Error", "Unwrap", "Is", "As", "String", "Format", "Len", "Less", "Swap", "Push", "Pop",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "MarshalLogObject"}

func TestExportedIsDocumented(t *testing.T) { check(t, exportedIsDocumented) }

// exportedIsDocumented: a doc comment is a contract, and what users can name has one. A
// comment on a group of constants or variables, or beside one, counts. The methods of an
// interface that is internal may be told in its own comment.
func exportedIsDocumented(f *file) (findings []string) {
	if !f.isLibrary() {
		return nil
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && (d.Recv == nil || exportedMethod(d)) {
				findings = append(findings, f.finding(d, "%s has no doc comment", d.Name.Name))
			}
		case *ast.GenDecl:
			if d.Tok != token.IMPORT {
				findings = append(findings, undocumented(f, d)...)
			}
		}
	}
	return findings
}

// exportedMethod tells whether users can call a method and nobody else has documented
// it.
func exportedMethod(d *ast.FuncDecl) bool {
	if slices.Contains(promised, d.Name.Name) {
		return false
	}
	receiver := d.Recv.List[0].Type
	for {
		switch t := receiver.(type) {
		case *ast.StarExpr:
			receiver = t.X
		case *ast.IndexExpr:
			receiver = t.X
		case *ast.IndexListExpr:
			receiver = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

// undocumented looks at a declaration of types, constants or variables.
func undocumented(f *file, d *ast.GenDecl) (findings []string) {
	grouped := d.Lparen.IsValid()
	for _, spec := range d.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && (grouped || d.Doc == nil) {
				findings = append(findings, f.finding(s, "type %s has no doc comment", s.Name.Name))
			}
			if i, ok := s.Type.(*ast.InterfaceType); ok && s.Name.IsExported() && !isInternal(f.dir()) {
				for _, m := range i.Methods.List {
					if len(m.Names) > 0 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil &&
						!slices.Contains(promised, m.Names[0].Name) {
						findings = append(findings, f.finding(m, "method %s.%s has no doc comment", s.Name.Name, m.Names[0].Name))
					}
				}
			}
		case *ast.ValueSpec:
			if s.Doc == nil && s.Comment == nil && d.Doc == nil {
				for _, name := range s.Names {
					if name.IsExported() {
						findings = append(findings, f.finding(name, "%s has no doc comment", name.Name))
					}
				}
			}
		}
	}
	return findings
}

func TestExportedIsDocumentedFinds(t *testing.T) {
	wantFindings(t, exportedIsDocumented, "bus/x.go", documentedSample)
}

const documentedSample = `package bus

func F() {} // BAD

// G is fine.
func G() {}
func g() {}

type T[K any] struct{} // BAD

func (t *T[K]) M() {} // BAD

func (t *T[K]) Error() string { return "" }
func (t u) M() {}

// A comment on a group of types says nothing about one.
type (
	A int // BAD

	// B is fine.
	B interface {
		// Do is fine.
		Do()
		undone()
		String() string
	}
)

// One on a group of constants does.
const (
	C = 1
	D = 2
)

var (
	E = 1 // E is fine.
	e = 2

	// I is fine.
	I = 3
)
`

// TestPackagesAreDocumented: one file of each package says what it is for.
func TestPackagesAreDocumented(t *testing.T) {
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, f := range files {
		if !f.isTest() {
			documented[f.dir()] = documented[f.dir()] || f.ast.Doc != nil
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("package %s has no package comment", dir)
		}
	}
}
