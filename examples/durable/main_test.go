package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asProgram is set for a copy of this test program that is to be the program itself.
const asProgram = "DURABLE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		work = 50 * time.Millisecond
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// runUntil runs the program in a folder, until it prints a line, and then sends it a signal. It returns what was
// printed until it ended.
func runUntil(t *testing.T, folder, line string, signal os.Signal, args ...string) (printed []string, ended error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env, c.Dir, c.Stderr = append(os.Environ(), asProgram+"=1"), folder, os.Stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if printed = append(printed, lines.Text()); lines.Text() == line {
			if err := c.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
		}
	}
	return printed, c.Wait()
}

// TestItGoesOn: what was not handled when it was killed is handled by the next run; what was handled before an orderly end does not come again.
func TestItGoesOn(t *testing.T) {
	folder := t.TempDir()
	first, ended := runUntil(t, folder, "shipping o-3 redelivered: false", os.Kill, "o-1", "o-2", "o-3", "o-4")
	if ended == nil {
		t.Fatalf("it was not killed: %q", first)
	}
	second, ended := runUntil(t, folder, "shipped o-4", os.Interrupt)
	text := strings.Join(second, "\n")
	if ended != nil || !strings.Contains(text, "shipping o-3 redelivered: true\nshipped o-3") {
		t.Errorf("the second run: %v\n%s", ended, text)
	}
	third, ended := runUntil(t, folder, "shipped o-5", os.Interrupt, "o-5")
	if ended != nil || len(third) != 3 {
		t.Errorf("the third run: %v, %q", ended, third)
	}
}
