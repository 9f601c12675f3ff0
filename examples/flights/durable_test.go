package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asProgram is set for a copy of this test program that is to be the program itself.
const asProgram = "FLIGHTS_AS_PROGRAM"

// program is this program with args, in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	c.Stderr = os.Stderr
	return c
}

// TestDurableIsKilled: however often it is killed, the last run writes the file that a run without a log does.
func TestDurableIsKilled(t *testing.T) {
	dir := t.TempDir()
	log, out := filepath.Join(dir, "flights.db"), filepath.Join(dir, "airports.csv")
	rows := strings.SplitAfter(unzip(t, builtIn), "\n")
	for _, n := range []int{5_000, 9_000} {
		c := program(t, "-durable", log, "-out", out, "-input", "/dev/stdin")
		stdin, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		// The input does not end, and all but what a pipe holds is read when this returns.
		if _, err := io.WriteString(stdin, strings.Join(rows[:n], "")); err != nil {
			t.Fatal(err)
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(); err == nil || c.ProcessState.Exited() {
			t.Fatalf("it was not killed, but ended: %v", err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Fatal("it was killed, and wrote a file")
		}
	}
	printed, err := program(t, "-durable", log, "-out", out).Output()
	if err != nil {
		t.Fatal(err)
	}
	already, _, _ := strings.Cut(string(printed), "\n")
	t.Log(already)
	if strings.HasPrefix(already, "0 ") || strings.HasPrefix(already, "20000 ") {
		t.Error("it was not killed midway:", already)
	}
	want := readFile(t, "testdata/airports.csv")
	if got := readFile(t, out); got != want {
		t.Error("the file differs from testdata/airports.csv")
	}
	again, _, err := runFlights(t, "-durable", log, "-out", out)
	if err != nil || !strings.HasPrefix(again, "20000 flights are in "+log+" already\n20000 flights from 220 airports") {
		t.Errorf("run once more: %v, printing\n%s", err, again)
	}
	if got := readFile(t, out); got != want {
		t.Error("run once more: the file differs from testdata/airports.csv")
	}
}

// TestDurableOfAnotherInput: flights of two inputs are not counted together.
func TestDurableOfAnotherInput(t *testing.T) {
	log := filepath.Join(t.TempDir(), "flights.db")
	if _, _, err := runFlights(t, "-durable", log, "-quiet", "-input", write(t, "one.csv", header+"\n2001/01/01 00:47,14,1750,DTW,LAS\n")); err != nil {
		t.Fatal(err)
	}
	other := write(t, "two.csv", header+"\n2001/01/02 00:47,14,1750,DTW,LAS\n")
	_, _, err := runFlights(t, "-durable", log, "-input", other)
	if err == nil || !strings.Contains(err.Error(), "has 2 flights, and "+other+" 1") {
		t.Error(err)
	}
}

func TestDurableFileOfAnotherProgram(t *testing.T) {
	_, _, err := runFlights(t, "-durable", write(t, "flights.db", "something else"))
	if err == nil || !strings.HasPrefix(err.Error(), "-durable: ") {
		t.Error(err)
	}
}
