package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

const zapPath = "go.uber.org/zap"

// fieldName is the one style of log fields.
var fieldName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// fieldMakers are zap's functions whose first argument names a field.
var fieldMakers = regexp.MustCompile(`^(Any|Array|Binary|Bools?|ByteStrings?|Complex(64|128)s?p?|Dict|Durations?|Durationp|Errors|Float(32|64)s?p?|` +
	`Inline|Int(8|16|32|64)?s?p?|NamedError|Namespace|Objects?|ObjectValues|Reflect|Stack|StackSkip|Stringers?|Strings?|Stringp|Times?|Timep|Uint(8|16|32|64|ptr)?s?p?)$`)

// logFields calls each for the log fields that a file names. The name is "" if it is no literal.
func logFields(f *file, each func(call *ast.CallExpr, name string)) {
	pkg := f.importName(zapPath)
	if pkg == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); !ok || x.Name != pkg {
			return true
		}
		switch {
		case sel.Sel.Name == "Error":
			each(call, "error")
		case fieldMakers.MatchString(sel.Sel.Name):
			var name string
			if lit, ok := call.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				name, _ = strconv.Unquote(lit.Value)
			}
			each(call, name)
		}
		return true
	})
}

func TestLogFieldsAreSnakeCase(t *testing.T) { check(t, logFieldsAreSnakeCase) }

// logFieldsAreSnakeCase: log fields have one style, and names that can be looked up.
func logFieldsAreSnakeCase(f *file) (findings []string) {
	if f.isTest() {
		return nil
	}
	logFields(f, func(call *ast.CallExpr, name string) {
		if !fieldName.MatchString(name) {
			findings = append(findings, f.finding(call, "log field %q is no snake_case literal", name))
		}
	})
	return findings
}

func TestLogFieldsAreSnakeCaseBites(t *testing.T) {
	wantFindings(t, logFieldsAreSnakeCase, "bus/x.go", `package bus
import z "go.uber.org/zap"
var (
	_ = z.Int("dead_letters", 1)
	_ = z.String("id", "")
	_ = z.Uint64("dead letters", 1) // BAD
	_ = z.Int("ReceiveBytes", 1) // BAD
	_ = z.Stringer("gapsNotLogged", nil) // BAD
	_ = z.Duration("_late", 1) // BAD
	_ = z.Any(name, 1) // BAD
	_ = z.Error(nil)
	_ = z.New(core)
	_ = other.Int("No field", 1)
)`)
}

// TestLogFieldsAreDocumented: docs/logs.md lists the log fields, and no other.
func TestLogFieldsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "logs.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllSubmatch(page, -1) {
		for _, name := range regexp.MustCompile("`([^`]*)`").FindAllSubmatch(row[1], -1) {
			if slices.Contains(documented, string(name[1])) {
				t.Errorf("docs/logs.md lists %s twice", name[1])
			}
			documented = append(documented, string(name[1]))
		}
	}
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, f := range files {
		if !f.isLibrary() {
			continue
		}
		logFields(f, func(call *ast.CallExpr, name string) {
			if !used[name] && !slices.Contains(documented, name) {
				t.Error(f.finding(call, "log field %q is not in docs/logs.md", name))
			}
			used[name] = true
		})
	}
	for _, name := range documented {
		if !used[name] {
			t.Errorf("docs/logs.md lists %q, which nobody logs", name)
		}
	}
}
