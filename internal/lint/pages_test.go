package lint

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// readPages returns the texts of the documents that people read, by their names.
func readPages(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, name := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

var (
	pageLink   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pageHead   = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	fenced     = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	notAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	namedFile  = regexp.MustCompile("`((?:bench|bus|bustest|codec|docs|examples|internal|middleware|router|supervisor|tools|transport)/[A-Za-z0-9_./-]+)`")
	sourceFile = regexp.MustCompile(`\.(go|md|c)$`)
)

// anchors returns the names by which links find the sections of a page.
func anchors(text string) (all []string) {
	for _, head := range pageHead.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all = append(all, strings.ReplaceAll(notAnchor.ReplaceAllString(strings.ToLower(head[1]), ""), " ", "-"))
	}
	return all
}

// brokenLinks are the links of a page that lead nowhere, and the files that it names and
// that do not exist.
func brokenLinks(name string, all map[string]string, exists func(string) bool) (findings []string) {
	text := fenced.ReplaceAllString(all[name], "")
	for _, m := range pageLink.FindAllStringSubmatch(text, -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, anchor, _ := strings.Cut(m[1], "#")
		target := name
		if file != "" {
			target = path.Join(path.Dir(name), file)
		}
		if !exists(target) {
			findings = append(findings, fmt.Sprintf("%s links to %s, which does not exist", name, m[1]))
		} else if page, ok := all[target]; anchor != "" && (!ok || !slices.Contains(anchors(page), anchor)) {
			findings = append(findings, fmt.Sprintf("%s links to %s, which is no section there", name, m[1]))
		}
	}
	for _, m := range namedFile.FindAllStringSubmatch(text, -1) {
		if (sourceFile.MatchString(m[1]) || strings.HasSuffix(m[1], "/")) && !exists(m[1]) {
			findings = append(findings, fmt.Sprintf("%s names %s, which does not exist", name, m[1]))
		}
	}
	return findings
}

// TestPagesLeadSomewhere: links of pages lead to files and sections, and the files that
// pages name are there.
func TestPagesLeadSomewhere(t *testing.T) {
	all := readPages(t)
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		return err == nil
	}
	for name := range all {
		for _, finding := range brokenLinks(name, all, exists) {
			t.Error(finding)
		}
	}
}

func TestPagesLeadSomewhereFinds(t *testing.T) {
	all := map[string]string{
		"docs/a.md": "# A page\n```\n# no section\n```\n## One event's way: `x`\n" +
			"[1](b.md) [2](#one-events-way-x) [3](../bus) [4](https://example.com/x#y) `bus/x.go` `transport/redis/` `go test ./bus`\n",
		"docs/b.md": "[1](c.md) [2](a.md#no-section) [3](#b) `bus/y.go` `internal/gone/`",
	}
	there := []string{"docs/a.md", "docs/b.md", "bus", "bus/x.go", "transport/redis/"}
	exists := func(name string) bool { return slices.Contains(there, name) }
	for name, want := range map[string]int{"docs/a.md": 0, "docs/b.md": 5} {
		if found := brokenLinks(name, all, exists); len(found) != want {
			t.Errorf("%s: %d findings, want %d: %q", name, len(found), want, found)
		}
	}
}
