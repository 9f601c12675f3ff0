package lint

import (
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The words of this module are listed in docs/design.md, under Glossary. One concept has one word, the field's own, and
// one word has one meaning. The tests of this file keep words away that were replaced: vocabulary_words_test.go lists them.

func TestNoMeaninglessWords(t *testing.T) {
	check(t, noMeaninglessWords)
	for _, page := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if word := meaningless(line); word != "" {
				t.Errorf("%s:%d: %q means nothing in this field", page, i+1, word)
			}
		}
	}
}

// pages are the documents, but for the changelog, which tells what was renamed.
func pages(t *testing.T) (names []string) {
	t.Helper()
	docs, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, name := range docs {
		names = append(names, "docs/"+filepath.Base(name))
	}
	return append(names, "README.md")
}

// noMeaninglessWords: a reader who knows Kafka, NATS, OTP or Redis knows the words of comments and names.
func noMeaninglessWords(f *file) (findings []string) {
	if f.path == wordsFile {
		return nil
	}
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			for i, line := range strings.Split(c.Text, "\n") {
				if word := meaningless(line); word != "" {
					findings = append(findings, fmt.Sprintf("%s:%d: %q means nothing in this field", f.path, f.line(c)+i, word))
				}
			}
		}
	}
	eachDeclared(f, func(name *ast.Ident, _ scope) {
		for _, word := range camelWords(name.Name) {
			if meaningless(word) != "" {
				findings = append(findings, f.finding(name, "the name %s: %q means nothing in this field", name.Name, word))
				return
			}
		}
	})
	return findings
}

// meaningless returns the first such word of a text, or "". "A lot" is English.
func meaningless(text string) string {
	for _, at := range meaninglessWords.FindAllStringIndex(text, -1) {
		word := text[at[0]:at[1]]
		if strings.HasPrefix(strings.ToLower(word), "lot") && strings.HasSuffix(strings.ToLower(text[:at[0]]), "a ") {
			continue
		}
		return word
	}
	return ""
}

// camelWords are the words that a name is made of.
func camelWords(name string) (words []string) {
	start := 0
	runes := []rune(name)
	for i := 1; i <= len(runes); i++ {
		if i == len(runes) || unicode.IsUpper(runes[i]) && !unicode.IsUpper(runes[i-1]) || runes[i] == '_' {
			words = append(words, strings.Trim(string(runes[start:i]), "_"))
			start = i
		}
	}
	return words
}

// scope is where a name is known.
type scope int

const (
	local  scope = iota // in a function
	wide                // beyond: of a function, a method, a field, or of the package's variables and constants
	ofType              // beyond: of a type
)

// beyond is the scope of what is declared at a depth of function bodies.
func beyond(depth int, s scope) scope {
	if depth > 0 {
		return local
	}
	return s
}

// eachDeclared visits the names that a file declares.
func eachDeclared(f *file, visit func(name *ast.Ident, scope scope)) {
	names := func(idents []*ast.Ident, scope scope) {
		for _, name := range idents {
			visit(name, scope)
		}
	}
	fields := func(list *ast.FieldList, scope scope) {
		if list == nil {
			return
		}
		for _, field := range list.List {
			names(field.Names, scope)
		}
	}
	depth := 0 // of function bodies
	var stack []ast.Node
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if n == nil {
			if _, body := stack[len(stack)-1].(*ast.BlockStmt); body {
				depth--
			}
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		switch n := n.(type) {
		case *ast.BlockStmt:
			depth++
		case *ast.FuncDecl:
			visit(n.Name, wide)
			fields(n.Recv, local)
		case *ast.FuncType:
			fields(n.Params, local)
			fields(n.Results, local)
		case *ast.StructType:
			fields(n.Fields, beyond(depth, wide))
		case *ast.InterfaceType:
			fields(n.Methods, beyond(depth, wide))
		case *ast.TypeSpec:
			visit(n.Name, beyond(depth, ofType))
		case *ast.ValueSpec:
			names(n.Names, beyond(depth, wide))
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, lhs := range n.Lhs {
					if name, ok := lhs.(*ast.Ident); ok {
						visit(name, local)
					}
				}
			}
		case *ast.RangeStmt:
			for _, lhs := range []ast.Expr{n.Key, n.Value} {
				if name, ok := lhs.(*ast.Ident); ok && n.Tok == token.DEFINE {
					visit(name, local)
				}
			}
		}
		return true
	})
}

func TestNoMeaninglessWordsFinds(t *testing.T) {
	const word = "cr" + "ew"
	wantFindings(t, noMeaninglessWords, "router/x.go", strings.ReplaceAll(`package bus
// It works a lot, and a slot is none.
// A $ works. // BAD
/* One line,
and two $s. // BAD
*/
// $elled, a slot, allotted.
type fine struct {
	of_$s         int // BAD
	$elled, slots int
}
func f() {
	$ := 1 // BAD
	for _, $ := range x { // BAD
		_ = $
	}
	const the_$ = 1 // BAD
	var a, $s int // BAD
}
func ($ fine) method() {} // BAD
func (fine) $s(a int) (b int) {} // BAD
func (fine) m($ int) {} // BAD
`, "$", word))
	wantFindings(t, noMeaninglessWords, wordsFile, "package lint\n// "+word)
}

func TestRenamed(t *testing.T) { check(t, renamedAway) }

// renamedAway: what was renamed in a package, does not come back there.
func renamedAway(f *file) (findings []string) {
	for dir, words := range renamed {
		if !f.in(dir) {
			continue
		}
		eachDeclared(f, func(name *ast.Ident, scope scope) {
			now := words[name.Name]
			if now == "" && scope == ofType {
				now = words["type "+name.Name]
			}
			if scope != local && now != "" {
				findings = append(findings, f.finding(name, "the name %s was replaced by %s", name.Name, now))
			}
		})
	}
	return findings
}

func TestRenamedFinds(t *testing.T) {
	wantFindings(t, renamedAway, "middleware/x.go", `package middleware
type window struct { // BAD
	judge int // BAD
}
func (x) judge() { // BAD
	judge := 1
	_ = judge
	type window int
}
var a, judgement = 1, 2 // BAD
const judged = 1
func f(window int) {}
`)
	wantFindings(t, renamedAway, "transport/redis/x.go", "package redis\ntype clock int // BAD\ntype x struct{ clock int }")
	wantFindings(t, renamedAway, "transport/redis/internal/track/x.go", "package track\ntype entry int // BAD\nvar outbox int // BAD")
	wantFindings(t, renamedAway, "router/x.go", "package router\ntype window int")
	wantFindings(t, renamedAway, "internal/redistest/x_test.go", "package redistest\nfunc verdict() {} // BAD")
}

// TestOneMeaning: a type of the bus and one of the Redis transport that share a name mean the same.
func TestOneMeaning(t *testing.T) {
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]map[string]string) // a name: directory, where
	for _, f := range files {
		for _, dir := range []string{"bus", "transport/redis"} {
			if f.isTest() || !f.in(dir) {
				continue
			}
			for _, name := range hiddenTypes(f) {
				if types[name.Name] == nil {
					types[name.Name] = make(map[string]string)
				}
				types[name.Name][dir] = f.finding(name, "")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(types)) {
		if len(types[name]) > 1 && sameMeaning[name] == "" {
			t.Errorf("%s is a type in %s and in %s: give one of them a name of its own, or its meaning in sameMeaning", name,
				strings.TrimSuffix(types[name]["bus"], ": "), strings.TrimSuffix(types[name]["transport/redis"], ": "))
		}
	}
	for name := range sameMeaning {
		if len(types[name]) < 2 {
			t.Errorf("sameMeaning has %s, which is not a type of both", name)
		}
	}
}

// hiddenTypes are the unexported types that a file declares outside of functions.
func hiddenTypes(f *file) (names []*ast.Ident) {
	for _, decl := range f.ast.Decls {
		if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.TYPE {
			for _, spec := range d.Specs {
				if name := spec.(*ast.TypeSpec).Name; !name.IsExported() {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// TestRenamedIsAWord: the table of renamed words says what became of each.
func TestRenamedIsAWord(t *testing.T) {
	for dir, words := range renamed {
		for old, now := range words {
			if old == now || now == "" {
				t.Errorf("%s: %s became %q", dir, old, now)
			}
			if words[now] != "" || words["type "+now] != "" {
				t.Errorf("%s: %s became %s, which became %s", dir, old, now, words[now])
			}
		}
	}
}
