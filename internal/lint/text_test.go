package lint

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// maxLines is how long a file may be: one concept is shorter.
const maxLines = 400

// longFiles may be longer, up to the number given, with the reason.
var longFiles = map[string]struct {
	lines  int
	reason string
}{}

func TestFilesAreShort(t *testing.T) { check(t, filesAreShort) }

func filesAreShort(f *file) []string {
	limit := maxLines
	if long, ok := longFiles[f.path]; ok {
		limit = long.lines
	}
	if n := f.lines(); n > limit {
		return []string{fmt.Sprintf("%s:%d: %d lines, %d are allowed: split it by concept", f.path, limit+1, n, limit)}
	}
	return nil
}

func TestFilesAreShortFinds(t *testing.T) {
	wantFindings(t, filesAreShort, "bus/x.go", "package bus"+strings.Repeat("\n", maxLines-1))
	wantFindings(t, filesAreShort, "bus/x.go", "package bus"+strings.Repeat("\n", maxLines)+"// BAD")
}

var (
	unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	nolint     = regexp.MustCompile(`^//\s*nolint\b`)
	nolintForm = regexp.MustCompile(`^//nolint:[a-z0-9]+(,[a-z0-9]+)* // \S`)
)

func TestComments(t *testing.T) { check(t, comments) }

// comments: what is unfinished is finished or an issue; a finding that is waved through
// names the linter and gives the reason.
func comments(f *file) (findings []string) {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if word := unfinished.FindString(c.Text); word != "" {
				findings = append(findings, f.finding(c, "the comment says %s", word))
			}
			if nolint.MatchString(c.Text) && !nolintForm.MatchString(c.Text) {
				findings = append(findings, f.finding(c, "write //nolint:linter // reason"))
			}
		}
	}
	return findings
}

func TestCommentsFinds(t *testing.T) {
	for text, bad := range map[string]bool{
		"// TO" + "DO: later":             true,
		"// see FIX" + "ME":               true,
		"// context.TO" + "DOs":           false,
		"//nolint":                        true,
		"//nolint:errorlint":              true,
		"// nolint:errorlint // spaced":   true,
		"//nolint:a,b // ours, unwrapped": false,
	} {
		f, err := parse("bus/x.go", "package bus\nvar v int "+text)
		if err != nil {
			t.Fatal(err)
		}
		if got := comments(f); (len(got) > 0) != bad {
			t.Errorf("%q: found %v, want bad = %v", text, got, bad)
		}
	}
}
