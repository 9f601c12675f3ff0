package logtest_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/transport"
)

var update = flag.Bool("update", false, "write the tables of docs/conformance.md")

const conformancePage = "../../docs/conformance.md"

// TestDocs: the tables of logs in docs/conformance.md are those of the suite.
func TestDocs(t *testing.T) {
	bytes, err := os.ReadFile(conformancePage)
	if err != nil {
		t.Fatal(err)
	}
	text := string(bytes)
	for name, table := range map[string]string{"log cases": caseTable(), "log mutants": mutantTable()} {
		begin, end := fmt.Sprintf("<!-- %s -->\n", name), fmt.Sprintf("<!-- end of %s -->\n", name)
		head, rest, ok := strings.Cut(text, begin)
		was, tail, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no %q and %q", conformancePage, begin, end)
		}
		if was != table && !*update {
			t.Errorf("the table of %s in %s is out of date: go test -run TestDocs ./bustest/logtest -update", name, conformancePage)
		}
		text = head + begin + table + end + tail
	}
	if *update {
		if err := os.WriteFile(conformancePage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func caseTable() string {
	ofFile := logtest.Features{Partitions: 8, MaxPayload: transport.DefaultMaxPayload, Within: true, Claim: true, Garble: true, Fail: true, Bubble: true}
	var s strings.Builder
	s.WriteString("| case | rule | memory | file |\n|---|---|---|---|\n")
	for _, k := range logtest.Cases() {
		fmt.Fprintf(&s, "| `%s` | %s |", k.Name, k.Rule)
		for _, features := range []logtest.Features{memoryFeatures, ofFile} {
			if lacks := k.Lacks(features); len(lacks) > 0 {
				fmt.Fprintf(&s, " no `%s` |", strings.Join(lacks, "`, `"))
			} else {
				s.WriteString(" passes |")
			}
		}
		s.WriteByte('\n')
	}
	return s.String()
}

func mutantTable() string {
	var s strings.Builder
	s.WriteString("| case | a log that … fails it |\n|---|---|\n")
	for _, k := range logtest.Cases() {
		var names []string
		for _, m := range mutants() {
			if m.meant == k.Name {
				names = append(names, m.name)
			}
		}
		fmt.Fprintf(&s, "| `%s` | %s |\n", k.Name, strings.Join(names, " · "))
	}
	return s.String()
}
