package lint

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/shardbus/shardbus"

// Libraries by name, so that the table below can be read.
const (
	rueidis   = "github.com/redis/rueidis"
	miniredis = "github.com/alicebob/miniredis/v2"
	backoff   = "github.com/cenkalti/backoff/v4"
	zap       = "go.uber.org/zap"
	bbolt     = "go.etcd.io/bbolt"
)

// component is a package with the packages below it that are no component of their own.
type component struct {
	dir string
	// uses are the components it may import; those under internal/ always, and what a
	// package of another component keeps under internal/ never.
	uses []string
	// libraries may be imported by the package itself. What needs another one is a
	// package below it, which may import what it likes, save those that few may reach.
	libraries []string
}

// layers are who may import whom.
var layers = []component{
	{dir: "supervisor", libraries: []string{backoff}},
	{dir: "router"},
	{dir: "codec"},
	{dir: "transport"},
	{dir: "transport/memory", uses: []string{"transport", "transport/internal/ackset", "transport/internal/pubseq", "transport/internal/share", "transport/internal/sinks"}},
	{dir: "transport/file", uses: []string{"transport", "transport/internal/ackset", "transport/internal/frame", "transport/internal/pubseq", "transport/internal/sinks"}},
	{dir: "transport/redis", uses: []string{"transport", "transport/internal/ackset", "transport/internal/frame", "transport/internal/share", "transport/internal/sinks", "router", "supervisor"}, libraries: []string{rueidis, backoff, zap}},
	{dir: "bus", uses: []string{"transport", "transport/memory", "supervisor", "codec", "router"}, libraries: []string{backoff, zap}},
	{dir: "middleware", uses: []string{"bus", "codec"}, libraries: []string{backoff, zap}},
	{dir: "bustest", uses: []string{"bus", "transport", "transport/memory", "codec", "bustest/transporttest"}, libraries: []string{zap}},
	{dir: "bustest/transporttest", uses: []string{"transport"}},
	{dir: "bustest/logtest", uses: []string{"transport"}},
	{dir: "bustest/fakecluster", uses: []string{"router"}, libraries: []string{miniredis}},
	// Shared by the tests of transport/redis and by bench/faults: it is what an application is.
	{dir: "internal/faultlab/busdriver", uses: []string{"bus", "transport", "transport/redis"}},
}

// reach is who may depend on a library, however indirectly. An application that stays
// in one process compiles no Redis client.
var reach = map[string][]string{
	rueidis:   {"transport/redis", "internal/redistest", "internal/faultlab/busdriver", "examples"},
	miniredis: {"bustest/fakecluster"},
	bbolt:     {"transport/file", "examples"},
}

// pkg is what the go command knows of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func (p pkg) ours() (dir string, ok bool) { return ours(p.ImportPath) }

// ours is the directory of a package of this module.
func ours(importPath string) (dir string, ok bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// componentOf is the component a directory belongs to.
func componentOf(dir string) (found component, ok bool) {
	for _, r := range layers {
		if within(dir, r.dir) && len(r.dir) > len(found.dir) {
			found, ok = r, true
		}
	}
	return found, ok
}

// isInternal tells whether users can't import a directory.
func isInternal(dir string) bool { return slices.Contains(strings.Split(dir, "/"), "internal") }

// mayImport says what is wrong with package from importing package to; "" is nothing.
// Both are directories of this module.
func mayImport(from, to string) string {
	if within(from, "examples") {
		if within(to, "examples") || isInternal(to) {
			return "an example is what a user writes: it imports the public packages only"
		}
		return ""
	}
	if within(to, "internal") {
		return ""
	}
	r, ok := componentOf(from)
	if !ok && within(from, "internal") {
		return "what is internal to all serves all: it imports nothing else of ours"
	}
	if !ok {
		return "the package is in no component: give it a line in layers"
	}
	if target, ok := componentOf(to); ok && target.dir == r.dir {
		if to == r.dir || within(to, r.dir+"/internal") {
			return ""
		}
		return "a package below stands for itself, so that who does not need it does not compile it"
	}
	if slices.Contains(r.uses, to) {
		return ""
	}
	return "layers does not let it"
}

func TestImportDirections(t *testing.T) {
	for _, p := range packages(t) {
		from, ok := p.ours()
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			if to, ok := ours(imported); ok {
				if wrong := mayImport(from, to); wrong != "" {
					t.Errorf("%s imports %s: %s", from, to, wrong)
				}
			}
		}
	}
}

// redisLayers are who may import whom of the packages under transport/redis/internal. Those
// that are not listed are pure: all may import them, and they import none that is listed.
var redisLayers = map[string][]string{
	"conn":             nil,
	"cluster":          {"conn"},
	"pipeline":         {"conn"},
	"control":          nil,
	"publisher":        {"cluster", "conn", "control", "pipeline"},
	"doctor":           {"conn", "cluster"},
	"subscriber":       {"conn", "control"},
	"streamlog":        {"streamlog/nodes", "streamlog/notify"},
	"streamlog/nodes":  {"cluster", "conn"},
	"streamlog/notify": {"conn"},
}

// redisMayImport says what is wrong with package from importing package to; "" is nothing.
// Both are names under transport/redis/internal.
func redisMayImport(from, to string) string {
	if _, listed := redisLayers[to]; !listed || slices.Contains(redisLayers[from], to) {
		return ""
	}
	return "redisLayers does not let it"
}

func TestRedisLayers(t *testing.T) {
	const below = "transport/redis/internal/"
	for _, p := range packages(t) {
		dir, _ := p.ours()
		from, ok := strings.CutPrefix(dir, below)
		if !ok {
			continue
		}
		for _, imported := range p.Imports {
			to, _ := ours(imported)
			if to, ok := strings.CutPrefix(to, below); ok {
				if wrong := redisMayImport(from, to); wrong != "" {
					t.Errorf("%s imports %s: %s", from, to, wrong)
				}
			}
		}
	}
}

func TestRedisLayersFinds(t *testing.T) {
	if redisMayImport("wire", "conn") == "" {
		t.Error("a pure package may import conn")
	}
	if wrong := redisMayImport("conn", "resp"); wrong != "" {
		t.Errorf("conn may not import resp: %s", wrong)
	}
}

func TestImportDirectionsFinds(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"bus", "router", true},
		{"bus", "transport/memory", true},
		{"bus", "bus/internal/mailbox", true},
		{"bus", "transport/redis", false},
		{"bus", "middleware", false},
		{"bus", "bustest", false},
		{"router", "codec", false},
		{"transport", "transport/memory", false},
		{"transport/memory", "transport", true},
		{"transport/memory", "router", false},
		{"transport/redis", "bus", false},
		{"transport/redis", "transport/redis/internal/wire", true},
		{"transport/redis/internal/wire", "transport", true},
		{"transport/redis/internal/wire", "bus", false},
		{"codec", "codec/cbor", false},
		{"codec/cbor", "codec", true},
		{"middleware/otel", "bus", true},
		{"bustest/fakecluster", "bus", false},
		{"internal/ring", "bus", false},
		{"internal/faultlab", "bus", false},
		{"internal/faultlab/busdriver", "bus", true},
		{"internal/faultlab/busdriver", "internal/faultlab", true},
		{"internal/faultlab/busdriver", "middleware", false},
		{"examples/flights", "transport/redis", true},
		{"examples/flights", "internal/ring", false},
		{"newcomer", "bus", false},
	} {
		if wrong := mayImport(c.from, c.to); (wrong == "") != c.allowed {
			t.Errorf("%s → %s: got %q, want allowed = %v", c.from, c.to, wrong, c.allowed)
		}
	}
}

func TestLibraries(t *testing.T) {
	for name, p := range packages(t) {
		dir, _ := ours(name)
		i := slices.IndexFunc(layers, func(r component) bool { return r.dir == dir })
		if i < 0 {
			continue
		}
		for _, imported := range p.Imports {
			if _, ok := ours(imported); ok || !strings.Contains(imported, ".") { // the standard library has no dots
				continue
			}
			if !slices.ContainsFunc(layers[i].libraries, func(l string) bool { return within(imported, l) }) {
				t.Errorf("%s imports %s: layers does not let it", dir, imported)
			}
		}
	}
}

func TestReach(t *testing.T) {
	all := packages(t)
	for _, library := range slices.Sorted(maps.Keys(reach)) {
		for name := range all {
			dir, ok := ours(name)
			if !ok || slices.ContainsFunc(reach[library], func(r string) bool { return within(dir, r) }) {
				continue
			}
			if way := wayTo(all, name, library, make(map[string]bool)); way != nil {
				t.Errorf("%s must not reach %s: %s", dir, library, strings.Join(way, " → "))
			}
		}
	}
}

// wayTo is a chain of imports from a package to a library, or nil.
func wayTo(all map[string]pkg, from, library string, seen map[string]bool) []string {
	if within(from, library) {
		return []string{from}
	}
	if seen[from] || all[from].Standard {
		return nil
	}
	seen[from] = true
	for _, imported := range all[from].Imports {
		if way := wayTo(all, imported, library, seen); way != nil {
			return append([]string{from}, way...)
		}
	}
	return nil
}

func TestReachFinds(t *testing.T) {
	all := map[string]pkg{
		"bus":       {Imports: []string{"fmt", "transport"}},
		"transport": {Imports: []string{"bus", rueidis + "/internal/cmds"}},
		"fmt":       {Standard: true},
	}
	want := []string{"bus", "transport", rueidis + "/internal/cmds"}
	if got := wayTo(all, "bus", rueidis, make(map[string]bool)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := wayTo(all, "bus", miniredis, make(map[string]bool)); got != nil {
		t.Errorf("got %v, want none", got)
	}
}

// TestRouterIsPure: placement is computed, without I/O, goroutines or a clock.
func TestRouterIsPure(t *testing.T) {
	for _, imported := range packages(t)[module+"/router"].Imports {
		if slices.Contains([]string{"context", "io", "math/rand", "math/rand/v2", "net", "os", "time"}, imported) {
			t.Errorf("router imports %s", imported)
		}
	}
}

// packages lists the packages of the module and all they depend on.
func packages(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Imports,Standard", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			t.Fatalf("go list: %v\n%s", err, failed.Stderr)
		}
		t.Fatal(err)
	}
	all := make(map[string]pkg)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
	if _, ok := all[module+"/bus"]; !ok {
		t.Fatalf("go list does not know the bus, only %d other packages", len(all))
	}
	return all
}

// TestBustestFromOutside: bustest imports most of the module, so tests that use it are
// in packages of their own; otherwise a package could never be used by bustest.
func TestBustestFromOutside(t *testing.T) { check(t, bustestFromOutside) }

func bustestFromOutside(f *file) (findings []string) {
	if !f.isTest() || f.in("examples") || f.in("bustest") || strings.HasSuffix(f.ast.Name.Name, "_test") {
		return nil
	}
	for _, spec := range f.ast.Imports {
		if dir, ok := ours(strings.Trim(spec.Path.Value, `"`)); ok && within(dir, "bustest") {
			findings = append(findings, f.finding(spec, "a test that uses bustest belongs in package %s_test", f.ast.Name.Name))
		}
	}
	return findings
}

func TestBustestFromOutsideFinds(t *testing.T) {
	wantFindings(t, bustestFromOutside, "middleware/x_test.go", `package middleware
import "github.com/shardbus/shardbus/bustest" // BAD`)
	wantFindings(t, bustestFromOutside, "middleware/x_test.go", `package middleware_test
import "github.com/shardbus/shardbus/bustest"`)
}
