package lint

import (
	"go/ast"
	"strings"
	"testing"
)

// rootContexts are the functions of the library that may begin a context of their own,
// with the reason.
var rootContexts = map[string]string{
	"bus/bus.go New": "a bus has a life of its own: Close and Shutdown end it",
	"transport/redis/internal/streamlog/nodes/client.go New": "a log has a life of its own: Close ends it",
	"bus/shutdown.go Close":                                  "Close takes no context: Config.Grace bounds it",
}

// sleepers are the tests that may sleep outside a synctest bubble, with the reason.
var sleepers = map[string]string{
	"internal/durabletest/kill_test.go":                 "a process that is killed has real time, and a file that is real",
	"internal/durabletest/kill_within_test.go":          "likewise",
	"internal/durabletest/chaos_file_test.go":           "likewise: what a process does meanwhile takes real time",
	"internal/durabletest/history_test.go":              "its handlers run in the bubble of chaos_test.go",
	"internal/durabletest/bench_test.go":                "a benchmark: goroutines that end are given time to",
	"transport/file/kill_test.go":                       "a process that is killed has real time, and a file that is real",
	"transport/file/full_linux_test.go":                 "likewise: a process with a bound on its files",
	"transport/file/stop_unix_test.go":                  "likewise: a process that is stopped",
	"transport/redis/fault_test.go":                     "servers are real processes: the length of a fault is real time",
	"internal/redistest/migration_test.go":              "likewise",
	"transport/redis/helper_test.go":                    "it polls real servers, which know no bubble",
	"transport/redis/internal/streamlog/faults_test.go": "servers are real processes: the length of a fault is real time",
}

// testSupport holds code that only tests use: it may begin contexts.
var testSupport = []string{"internal/redistest", "internal/faultlab", "internal/lint"}

func TestLibraryDoesNotPrintOrPanic(t *testing.T) { check(t, noPrintNoPanic) }

// noPrintNoPanic: a library tells its caller, by an error, or the logger it was given.
func noPrintNoPanic(f *file) (findings []string) {
	if !f.isLibrary() {
		return nil
	}
	if f.importName("log") != "" {
		findings = append(findings, f.finding(f.ast.Name, "imports log: the library logs to the zap.Logger it was given"))
	}
	eachCall(f, func(_ string, call *ast.CallExpr, name string) {
		switch {
		case name == "panic" || name == "print" || name == "println" || name == "os.Exit",
			strings.HasPrefix(name, "fmt.Print"):
			findings = append(findings, f.finding(call, "calls %s", name))
		}
	})
	return findings
}

func TestNoPrintNoPanicFinds(t *testing.T) {
	const src = `package p
import ("fmt"; out "os")
func f() {
	fmt.Println() // BAD
	fmt.Sprint()
	print() // BAD
	x.panic()
	func() { panic(1) }() // BAD
	out.Exit(1) // BAD
}
var v = func() { fmt.Printf("") } // BAD
`
	wantFindings(t, noPrintNoPanic, "bus/x.go", src)
	wantFindings(t, noPrintNoPanic, "bus/x.go", "package p // BAD\nimport \"log\"")
	wantFindings(t, noPrintNoPanic, "bus/x_test.go", strings.ReplaceAll(src, "// BAD", ""))
	wantFindings(t, noPrintNoPanic, "examples/x/x.go", "package main\nfunc main() { panic(1) }")
}

func TestContextsHaveAParent(t *testing.T) { check(t, contextsHaveAParent) }

// contextsHaveAParent: what a caller can't end is a leak.
func contextsHaveAParent(f *file) (findings []string) {
	if !f.isLibrary() {
		return nil
	}
	for _, dir := range testSupport {
		if f.in(dir) {
			return nil
		}
	}
	eachCall(f, func(fn string, call *ast.CallExpr, name string) {
		if name != "context.Background" && name != "context.TODO" {
			return
		}
		if _, allowed := rootContexts[f.path+" "+fn]; !allowed {
			findings = append(findings, f.finding(call, "%s calls %s: take the caller's context, or give the reason in rootContexts", fn, name))
		}
	})
	return findings
}

func TestContextsHaveAParentFinds(t *testing.T) {
	wantFindings(t, contextsHaveAParent, "bus/bus.go", `package bus
import "context"
func New() { context.Background() }
func Old() { context.Background() } // BAD
func (b *B) New2() { context.TODO() } // BAD
`)
}

func TestTestsDoNotSleep(t *testing.T) { check(t, testsDoNotSleep) }

// testsDoNotSleep: a test that waits for time to pass is slow where it is right and
// wrong where the machine is slow. In a synctest bubble time costs nothing.
func testsDoNotSleep(f *file) (findings []string) {
	if !f.isTest() || f.importName("testing/synctest") != "" || sleepers[f.path] != "" {
		return nil
	}
	eachCall(f, func(_ string, call *ast.CallExpr, name string) {
		if name == "time.Sleep" {
			findings = append(findings, f.finding(call, "sleeps outside a synctest bubble"))
		}
	})
	return findings
}

func TestTestsDoNotSleepFinds(t *testing.T) {
	wantFindings(t, testsDoNotSleep, "bus/x_test.go", "package bus\nimport \"time\"\nfunc f() {\n time.Sleep(1) // BAD\n}")
	wantFindings(t, testsDoNotSleep, "bus/x_test.go", "package bus\nimport (\"time\"; \"testing/synctest\")\nfunc f() {\n time.Sleep(1)\n}")
}

// TestExceptionsAreUsed: an exception whose cause has gone from the file goes too.
func TestExceptionsAreUsed(t *testing.T) {
	files, err := source()
	if err != nil {
		t.Fatal(err)
	}
	calls := make(map[string]bool) // "path function callee" and "path callee"
	exists := make(map[string]bool)
	for _, f := range files {
		exists[f.path] = true
		eachCall(f, func(fn string, _ *ast.CallExpr, name string) {
			calls[f.path+" "+fn+" "+name] = true
			calls[f.path+" "+name] = true
		})
	}
	for where := range rootContexts {
		path, _, _ := strings.Cut(where, " ")
		if exists[path] && !calls[where+" context.Background"] && !calls[where+" context.TODO"] {
			t.Errorf("rootContexts names %q, which begins no context", where)
		}
	}
	for path := range sleepers {
		if exists[path] && !calls[path+" time.Sleep"] {
			t.Errorf("sleepers names %q, which does not sleep", path)
		}
	}
	for path := range longFiles {
		if !exists[path] {
			t.Errorf("longFiles names %q, which does not exist", path)
		}
	}
}

// eachCall visits the calls of plain functions, with the name of the declared function
// around each ("" outside any) and the callee's: "panic", "os.Exit". The name of a
// package is its own, whatever the file calls it.
func eachCall(f *file, visit func(fn string, call *ast.CallExpr, name string)) {
	packageOf := make(map[string]string)
	for _, importPath := range []string{"context", "fmt", "os", "time"} {
		if local := f.importName(importPath); local != "" {
			packageOf[local] = importPath
		}
	}
	for _, decl := range f.ast.Decls {
		fn := ""
		if d, ok := decl.(*ast.FuncDecl); ok {
			fn = d.Name.Name
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			switch callee := call.Fun.(type) {
			case *ast.Ident:
				visit(fn, call, callee.Name)
			case *ast.SelectorExpr:
				if x, ok := callee.X.(*ast.Ident); ok && packageOf[x.Name] != "" {
					visit(fn, call, packageOf[x.Name]+"."+callee.Sel.Name)
				}
			}
			return true
		})
	}
}
