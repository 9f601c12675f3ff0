package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"go.uber.org/goleak"
)

// asProgram is set for a copy of this test program that is to be the program itself.
const asProgram = "ORDERS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// process is the program in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
}

func startProcess(t *testing.T, folder string, flags ...string) *process {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-remind", "500ms"}, flags...)...)
	c.Env, c.Dir, c.Stderr = append(os.Environ(), asProgram+"=1"), folder, os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return &process{t, c, stdin, bufio.NewScanner(stdout)}
}

// ask gives a command, and returns the answer up to a line that begins with end.
func (p *process) ask(command, end string) (answer []string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, command); err != nil {
		p.t.Fatal(err)
	}
	for p.stdout.Scan() {
		if answer = append(answer, p.stdout.Text()); strings.HasPrefix(p.stdout.Text(), end) {
			return answer
		}
	}
	p.t.Fatalf("%q has no answer that begins with %q: %q", command, end, answer)
	return nil
}

func (p *process) order(n int) string {
	p.t.Helper()
	return p.ask(orderLine(n), "accepted ")[0]
}

// awaitLetters asks until there are n letters: an outcome is in the log soon after its handler has returned.
func (p *process) awaitLetters(n int) {
	p.t.Helper()
	for len(p.ask("letters", "end of letters")) != n+1 {
		continue
	}
}

// kill ends it as nothing it could prepare for.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err == nil || p.cmd.ProcessState.Exited() {
		p.t.Fatalf("it was not killed, but ended: %v", err)
	}
}

// end ends it in order.
func (p *process) end() {
	p.t.Helper()
	if err := p.stdin.Close(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatal(err)
	}
}

const customers = 10

// orderLine is the command of the n-th order. Each eleventh is too large.
func orderLine(n int) string {
	cents := 1990
	if large(n) {
		cents = 250_000
	}
	return fmt.Sprintf("order o-%d c-%d %d", n, n%customers, cents)
}

func large(n int) bool { return n%11 == 0 }

// effects are the lines of orders.txt, in their order, without repetitions, and how many there are with them.
func effects(t *testing.T, folder, kind string) (first []string, all int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "orders.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), kind+" "); ok {
			if all++; !slices.Contains(first, id) {
				first = append(first, id)
			}
		}
	}
	return first, all
}

// await waits until there is an effect of each order. Each round waits for an answer.
func (p *process) await(kind string, ids []string) {
	p.t.Helper()
	for {
		first, _ := effects(p.t, p.cmd.Dir, kind)
		if !slices.ContainsFunc(ids, func(id string) bool { return !slices.Contains(first, id) }) {
			return
		}
		p.ask("wait", "say")
	}
}

// TestItGoesOn kills the program twice while it works. In the end every order was charged and shipped, and
// nothing else.
func TestItGoesOn(t *testing.T) { goesOn(t) }

// TestItGoesOnWithRedis does so with the events on a server.
func TestItGoesOnWithRedis(t *testing.T) {
	goesOn(t, "-redis", redistest.Standalone(t, redistest.Config{}).Addr())
}

func goesOn(t *testing.T, flags ...string) {
	t.Helper()
	const orders = 120
	folder := t.TempDir()
	known, next := 0, 0
	for _, until := range []int{orders / 3, 2 * orders / 3} {
		p := startProcess(t, folder, flags...)
		for n := max(0, next-5); n < until; n++ { // a client that isn't sure repeats its last orders
			if strings.HasSuffix(p.order(n), "known true") {
				known++
			}
		}
		next = until
		p.kill()
	}
	if known != 5 {
		t.Errorf("%d orders that were repeated are known, not 5", known)
	}
	p := startProcess(t, folder, flags...)
	var want, blocked, paid []string
	for n := range orders {
		if n >= next {
			p.order(n)
		}
		want = append(want, fmt.Sprintf("o-%d", n))
		if large(n) {
			blocked = append(blocked, fmt.Sprintf("o-%d", n))
		} else {
			paid = append(paid, fmt.Sprintf("o-%d", n))
		}
	}
	p.await("shipped", paid)
	p.await("reminded", blocked)
	p.awaitLetters(len(blocked))
	p.ask("limit 500000", "limit")
	if answer := p.ask("replay", "replayed"); answer[0] != fmt.Sprintf("replayed %d", len(blocked)) {
		t.Errorf("%q", answer)
	}
	p.await("shipped", want)
	p.awaitLetters(0)
	p.end()

	slices.Sort(want)
	for _, kind := range []string{"charged", "shipped"} {
		first, all := effects(t, folder, kind)
		t.Logf("%s: %d, and %d again", kind, len(first), all-len(first))
		inOrder(t, kind, first)
		slices.Sort(first)
		if !slices.Equal(first, want) {
			t.Errorf("%s: %q", kind, first)
		}
	}
	reminded, _ := effects(t, folder, "reminded")
	for _, id := range blocked {
		if !slices.Contains(reminded, id) {
			t.Errorf("%s could not be paid, and nobody was reminded", id)
		}
	}
}

// inOrder checks that orders of a customer that could be paid at once have kept their order.
func inOrder(t *testing.T, kind string, ids []string) {
	t.Helper()
	last := make(map[int]int)
	for _, id := range ids {
		var n int
		if _, err := fmt.Sscanf(id, "o-%d", &n); err != nil {
			t.Fatal(err)
		}
		if large(n) {
			continue
		}
		if before, ok := last[n%customers]; ok && n < before {
			t.Errorf("o-%d was %s after o-%d", n, kind, before)
		}
		last[n%customers] = n
	}
}
