package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// runFlights runs the program and returns what it printed.
func runFlights(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	err = run(t.Context(), args, &out, &errs)
	return out.String(), errs.String(), err
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCountsTheFlightsBuiltIn(t *testing.T) {
	out := filepath.Join(t.TempDir(), "airports.csv")
	stdout, stderr, err := runFlights(t, "-out", out)
	if err != nil || stderr != "" {
		t.Fatalf("got %v, saying %q", err, stderr)
	}
	got := readFile(t, out)
	if want := readFile(t, "testdata/airports.csv"); got != want {
		t.Error("the file differs from testdata/airports.csv")
	}
	if want := plainPass(t, unzip(t, builtIn)); got != want {
		t.Error("the file differs from a plain pass over the input")
	}
	for _, want := range []string{
		"20000 flights from 220 airports",
		"DFW        1103   282        9.49      298",
		"ledger: accepted 20000 = handled 20000 + discarded 0 + dead-lettered 0 + dropped 0 + abandoned 0 + pending 0",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the summary lacks %q:\n%s", want, stdout)
		}
	}
}

func TestCountsAFile(t *testing.T) {
	const content = header + `
2001/01/01 00:47,14,1750,DTW,LAS
2001/01/01 00:47,15,1,LAS,DTW
2001/01/01 00:47,-20,1750,DTW,LAS
2001/01/02 00:00,-9,1,"A, B",DTW
`
	const want = `origin,departures,late,mean_delay,max_delay
"A, B",1,0,-9.00,-9
DTW,2,0,-3.00,14
LAS,1,1,15.00,15
`
	for _, in := range []string{write(t, "f.csv", content), write(t, "f.csv.gz", zipped(t, content))} {
		out := filepath.Join(t.TempDir(), "airports.csv")
		stdout, stderr, err := runFlights(t, "-input", in, "-out", out, "-quiet")
		if err != nil || stdout+stderr != "" {
			t.Errorf("%s: got %v, printing %q, %q", filepath.Base(in), err, stdout, stderr)
		}
		if got := readFile(t, out); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", filepath.Base(in), got, want)
		}
	}
}

func TestNoFlights(t *testing.T) {
	out := filepath.Join(t.TempDir(), "airports.csv")
	if _, _, err := runFlights(t, "-input", write(t, "f.csv", header), "-out", out); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, out); got != "origin,departures,late,mean_delay,max_delay\n" {
		t.Errorf("got %q", got)
	}
}

// TestBadInput: what is wrong is said with file and line, and no file is written.
func TestBadInput(t *testing.T) {
	for name, bad := range badInputs(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stdout, _, err := runFlights(t, "-input", bad.path, "-out", filepath.Join(dir, "airports.csv"))
			var stderr bytes.Buffer
			if status := exitStatus(err, &stderr); status != 1 || stdout != "" {
				t.Errorf("status %d, printing %q", status, stdout)
			}
			said := stderr.String()
			if !strings.HasPrefix(said, bad.path+bad.said) || strings.Count(said, "\n") != 1 {
				t.Errorf("said %q, want one line %q", said, bad.path+bad.said)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it left %v, %v", left, err)
			}
		})
	}
}

func TestInterrupt(t *testing.T) {
	out := filepath.Join(t.TempDir(), "airports.csv")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	var stdout, stderr bytes.Buffer
	err := run(ctx, []string{"-out", out}, &stdout, &stderr)
	if !errors.Is(err, errInterrupted) || !strings.Contains(err.Error(), "after 0 flights: interrupt signal received") {
		t.Errorf("got %v", err)
	}
	if stdout.Len() > 0 || stderr.Len() > 0 {
		t.Errorf("printed %q, %q", stdout.String(), stderr.String())
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was written: %v", err)
	}
}

// TestInterruptOfAPipe: a program that waits for more input ends too, and tells what became of the
// flights it had.
func TestInterruptOfAPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	path := fmt.Sprintf("/dev/fd/%d", r.Fd())
	if _, err := os.Stat(path); err != nil {
		t.Skip("no", path, "here")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-input", path}, &stdout, &stderr) }()
	if _, err := w.WriteString(header + "\n" + goodRow + "\n"); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, errInterrupted) || stdout.Len() > 0 {
		t.Errorf("got %v, printing %q", err, stdout.String())
	}
}

// TestInterruptMidway: what was published before the end is counted.
func TestInterruptMidway(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, in := openTestBus(t, bus.Config{Use: []bus.Middleware{func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			cancel()
			return next(ctx, d)
		}
	}}})
	_, ledger, err := count(ctx, b, in, &progress{}, nil)
	if !errors.Is(err, errInterrupted) {
		t.Errorf("got %v", err)
	}
	if ledger.Handled == 0 || ledger.Handled == 20_000 || ledger.Handled != ledger.Accepted {
		t.Errorf("the ledger is %v", ledger)
	}
}

// TestHandlerPanics: a flight that can't be counted fails the program.
func TestHandlerPanics(t *testing.T) {
	b, in := openTestBus(t, bus.Config{Use: []bus.Middleware{func(bus.Handler) bus.Handler {
		return func(context.Context, *bus.Delivery) error { panic("no board") }
	}}})
	_, _, err := count(t.Context(), b, in, &progress{}, nil)
	var p *bus.PanicError
	if !errors.As(err, &p) || p.Value != "no board" {
		t.Errorf("got %v", err)
	}
}

// TestOnATransport: the program needs no change where flights travel encoded.
func TestOnATransport(t *testing.T) {
	in, err := openInput(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	airports, _, err := count(t.Context(), bustest.New(t).Bus, in, &progress{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := writeCSV(&got, airports); err != nil {
		t.Fatal(err)
	}
	if got.String() != readFile(t, "testdata/airports.csv") {
		t.Error("the airports differ from testdata/airports.csv")
	}
}

func openTestBus(t *testing.T, cfg bus.Config) (*bus.Bus, *input) {
	t.Helper()
	b, err := bus.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	in, err := openInput(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), in.Close()); err != nil {
			t.Error(err)
		}
	})
	return b, in
}

func TestProgress(t *testing.T) {
	b, in := openTestBus(t, bus.Config{})
	var w bytes.Buffer
	if _, _, err := count(t.Context(), b, in, &progress{w: &w}, nil); err != nil {
		t.Fatal(err)
	}
	if got := w.String(); !strings.HasSuffix(got, "\r20000 flights counted, 0 waiting\x1b[K\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("got %q", got)
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(io.Discard) {
		t.Error("a file or a writer is taken for a terminal")
	}
}
