package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is a package with the references between its files.
type pkg struct {
	path  string
	files int
	refs  graph
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles, CgoFiles       []string
	DepOnly                 bool
	Error                   *struct{ Err string }
}

// load reads the packages that the patterns name, sorted by path. What they import is read from the compiler's export data.
func load(patterns []string) (packages []pkg, err error) {
	all, err := list(patterns)
	if err != nil {
		return nil, err
	}
	exports := make(map[string]string)
	for _, l := range all {
		exports[l.ImportPath] = l.Export
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	for _, l := range all {
		if l.DepOnly {
			continue
		}
		if l.Error != nil {
			return nil, fmt.Errorf("%s: %s", l.ImportPath, l.Error.Err)
		}
		p, err := references(fset, imports, l)
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	slices.SortFunc(packages, func(a, b pkg) int { return strings.Compare(a.path, b.path) })
	return packages, nil
}

// list asks the go command, which compiles what has changed.
func list(patterns []string) (all []listed, err error) {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,CgoFiles,DepOnly,Error", "--"}, patterns...)
	var stderr bytes.Buffer
	cmd := exec.Command("go", args...) //nolint:noctx // it ends with the program
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, &stderr)
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
}

// references type-checks a package and finds which of its files use what of which others.
func references(fset *token.FileSet, imports types.Importer, l listed) (pkg, error) {
	var files []*ast.File
	for _, name := range slices.Concat(l.GoFiles, l.CgoFiles) {
		f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return pkg{}, err
		}
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	config := types.Config{Importer: imports, FakeImportC: true}
	checked, err := config.Check(l.ImportPath, fset, files, info)
	if err != nil {
		return pkg{}, err
	}
	p := pkg{path: l.ImportPath, files: len(files), refs: make(graph)}
	fileOf := func(pos token.Pos) string { return filepath.Base(fset.Position(pos).Filename) }
	for ident, used := range info.Uses {
		if used.Pkg() == checked && used.Pos().IsValid() {
			if _, ok := used.(*types.PkgName); !ok { // the name of an import belongs to its file
				p.refs.add(fileOf(ident.Pos()), fileOf(used.Pos()), used.Name())
			}
		}
	}
	return p, nil
}
