package durabletest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGuideIsTested: each piece of Go in docs/durable.md, and of the README's section, stands in a test, or in an
// example that one runs.
func TestGuideIsTested(t *testing.T) {
	var sources strings.Builder
	for _, pattern := range []string{"*_test.go", "../../examples/durable/*.go", "../../examples/orders/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			sources.WriteString(readFile(t, name))
		}
	}
	_, readme, _ := strings.Cut(readFile(t, "../../README.md"), "\n## Durable topics\n")
	readme, _, _ = strings.Cut(readme, "\n## ")
	guide := readFile(t, "../../docs/durable.md")
	pieces := append(strings.Split(readme, "```go\n")[1:], strings.Split(guide, "```go\n")[1:]...)
	if len(pieces) < 12 {
		t.Errorf("only %d pieces of code were found", len(pieces))
	}
	for _, piece := range pieces {
		code, _, _ := strings.Cut(piece, "```")
		for part := range strings.SplitSeq(code, "\n\n") { // declarations
			if !strings.Contains(sources.String(), strings.TrimSpace(part)) {
				t.Errorf("this is in no test:\n%s", part)
			}
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
