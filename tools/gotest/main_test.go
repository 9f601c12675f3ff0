package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const crash = `ThreadSanitizer: CHECK failed: tsan_rtl.cpp:346 "((exiting || thr->fast_state.epoch() == kEpochLast)) != (0)" (0x0, 0x0) (tid=16462)`

// fakeGo is a go command that answers its n-th call with the n-th of these, and notes what it was asked for.
func fakeGo(t *testing.T, answers ...string) (path string, calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	for i, answer := range answers {
		code := 0
		if strings.Contains(answer, "FAIL") {
			code = 1
		}
		for name, text := range map[string]string{"out": answer, "code": fmt.Sprint(code)} {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%d", name, i)), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	path = filepath.Join(dir, "go")
	script := "#!/bin/sh\ncd " + dir + "\nn=$(cat calls 2>/dev/null | wc -l)\necho \"$@\" >>calls\ncat out$n\nexit $(cat code$n)\n"
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path, func() []string {
		text, err := os.ReadFile(filepath.Join(dir, "calls"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// TestRun: only a crash of the detector's own has packages tested again, once; and go test has the last word.
func TestRun(t *testing.T) {
	ok := "ok  \tm/a\t0.1s\n"
	crashed := crash + "\nFAIL\tm/b\t24.1s\n"
	for _, c := range []struct {
		name    string
		answers []string
		code    int
		calls   []string
	}{
		{"all is well", []string{ok + "?   \tm/b\t[no test files]\n"}, 0, []string{"test -race ./..."}},
		{"a test fails", []string{ok + "--- FAIL: TestX (0.00s)\nFAIL\nFAIL\tm/b\t0.1s\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"the detector crashes", []string{ok + crashed + "FAIL\n", "ok  \tm/b\t30s\n"}, 0, []string{"test -race ./...", "test -race -count=1 m/b"}},
		{"and again", []string{ok + crashed + "FAIL\n", crashed + "FAIL\n"}, 1, []string{"test -race ./...", "test -race -count=1 m/b"}},
		{"and then a test fails", []string{crashed + "FAIL\n", "--- FAIL: TestX\nFAIL\tm/b\t1s\nFAIL\n"}, 1, []string{"test -race ./...", "test -race -count=1 m/b"}},
		{"in two packages", []string{crash + "\nFAIL\tm/a\t1s\n" + crashed + "FAIL\n", ok, "ok  \tm/b\t1s\n"}, 0,
			[]string{"test -race ./...", "test -race -count=1 m/a", "test -race -count=1 m/b"}},
		{"a test of the package fails", []string{"--- FAIL: TestX (0.00s)\n    x_test.go:1: no\n" + crashed + "FAIL\n"}, 1, []string{"test -race ./..."}},
		{"a part of a test fails", []string{"    --- FAIL: TestX/y (0.00s)\n" + crashed + "FAIL\n"}, 1, []string{"test -race ./..."}},
		{"a race was found", []string{"==================\nWARNING: DATA RACE\n" + crashed + "FAIL\n"}, 1, []string{"test -race ./..."}},
		{"a panic", []string{"panic: x\n" + crashed + "FAIL\n"}, 1, []string{"test -race ./..."}},
		{"another package fails", []string{crashed + "--- FAIL: TestX\nFAIL\tm/c\t0.1s\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"another does not build", []string{crashed + "FAIL\tm/c [build failed]\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"it does not build", []string{crash + "\nFAIL\tm/c [build failed]\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"who only speaks of it", []string{"x: " + crash + "\nFAIL\tm/c\t1s\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"a package before spoke of it", []string{crash + "\nok  \tm/a\t1s\nFAIL\tm/c\t1s\nFAIL\n"}, 1, []string{"test -race ./..."}},
		{"nothing is said", []string{"FAIL\n"}, 1, []string{"test -race ./..."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, calls := fakeGo(t, c.answers...)
			var out, errs bytes.Buffer
			code, err := run(path, []string{"-race", "--", "./..."}, &out, &errs)
			if code != c.code || err != nil {
				t.Errorf("code %d, want %d; %v", code, c.code, err)
			}
			if got := calls(); strings.Join(got, "\n") != strings.Join(c.calls, "\n") {
				t.Errorf("calls %q, want %q", got, c.calls)
			}
			for _, answer := range c.answers[:1] {
				if !strings.HasPrefix(out.String(), answer) {
					t.Errorf("%q does not begin with %q", out.String(), answer)
				}
			}
			if last := c.answers[len(c.answers)-1]; !strings.HasSuffix(out.String(), last) {
				t.Errorf("%q does not end with %q", out.String(), last)
			}
			if said := strings.Count(out.String(), "THE RACE DETECTOR ITSELF HAS CRASHED"); said != len(c.calls)-1 {
				t.Errorf("it is said %d times: %s", said, out.String())
			}
		})
	}
}

// TestRunRefuses: what is no call of it, and a go command that is not there.
func TestRunRefuses(t *testing.T) {
	var out bytes.Buffer
	for _, args := range [][]string{nil, {"./..."}, {"-race", "--"}} {
		if code, err := run("go", args, &out, &out); code == 0 || err == nil {
			t.Errorf("%q: code %d, %v", args, code, err)
		}
	}
	if code, err := run(filepath.Join(t.TempDir(), "none"), []string{"--", "./..."}, &out, &out); code == 0 || err == nil {
		t.Errorf("code %d, %v", code, err)
	}
}
