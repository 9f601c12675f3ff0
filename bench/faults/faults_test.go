package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
)

// TestNames: faults and clients are found by their names, which are the names of files too.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, f := range allFaults() {
		if seen[f.Slug] || f.Slug == "" || f.Title == "" || f.Inject == nil || strings.ContainsAny(f.Slug, ", /") {
			t.Errorf("%+v", f)
		}
		seen[f.Slug] = true
	}
	for _, f := range soakable() {
		if !seen[f.Slug] {
			t.Errorf("a soak has %s, which is no fault", f.Slug)
		}
	}
	for _, e := range field() {
		if seen[e.Name] || strings.ContainsAny(e.Name, ", /") || drivers()[e.Name].OpenSender == nil {
			t.Errorf("%+v", e.Client)
		}
		seen[e.Name] = true
		if topic := "t17"; faultlab.SlotOf(e.Channel(topic)) != faultlab.SlotOf(topic) {
			t.Errorf("%s: %s has another slot than %s", e.Name, e.Channel(topic), topic)
		}
	}
	if _, err := chosen(field(), "nobody", func(e entry) string { return e.Name }); err == nil || !strings.Contains(err.Error(), "shardbus") {
		t.Errorf("choosing nobody: %v", err)
	}
}

// TestMarkdown: what two runs wrote is one table, with medians over both.
func TestMarkdown(t *testing.T) {
	o := options{out: filepath.Join(t.TempDir(), "lines")}
	c := conditions{Replicas: 1, Rate: 5000, Topics: 200}
	for _, first := range []time.Duration{2 * time.Second, 90 * time.Millisecond} {
		err := o.write([]line{
			{conditions: c, Sample: &faultlab.Sample{
				Fault: "kill9", Client: "shardbus", Known: time.Second, First: first, Hole: first, Accepted: 10, Missing: 2, Lost: 1, Uncertain: 1,
			}},
			{conditions: c, Name: "shardbus", Totals: &faultlab.Result{Accepted: 10, Missing: 2, Lost: 1, Uncertain: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := printMarkdown(&out, []string{o.out}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| kill -9 of a primary | 2 | 1.00 s (1.00 s) | shardbus | 90 ms (2.00 s) | 90 ms (2.00 s) | 20 | 4 | 2 + 2 | 0 | 0 |",
		"shardbus, 2 runs: 20 events accepted",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if err := os.WriteFile(o.out, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := printMarkdown(&out, []string{o.out}); err == nil {
		t.Error("half a line is no error")
	}
}

func TestSubscriptions(t *testing.T) {
	if n := subscriptions("id=1 sub=3 ssub=4 x\nid=2 ssub=10\n"); n != 14 {
		t.Errorf("%d, want 14", n)
	}
}
