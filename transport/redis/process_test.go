package redis_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// roleEnv makes the test binary, run once more, a process with a role instead of a run of the tests.
const roleEnv = "SHARDBUS_TEST_ROLE"

// script is what a process with a role is told, as JSON in the variable.
type script struct {
	Role   string
	Name   string
	Addrs  []string
	Topics []string
	Rate   int // events a second on each topic
	// RepairOff is a subscriber's Repair.Off.
	RepairOff bool
}

// roles are what a process can be. Each ends when stopped ends.
var roles = map[string]func(stopped context.Context, s script, out *lines) error{
	"publisher": playPublisher, "subscriber": playSubscriber,
	"raw publisher": playRawPublisher, "raw subscriber": playRawSubscriber,
}

// play is the main function of a process with a role. It ends when the other end of its standard input does.
func play(text string) int {
	var s script
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	stopped, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { // it ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	out := newLines(os.Stdout)
	err := roles[s.Role](stopped, s, out)
	if err = errors.Join(err, out.close()); err != nil {
		fmt.Fprintln(os.Stderr, s.Role, s.Name, err)
		return 1
	}
	return 0
}

// lines writes lines for many goroutines, a little later than they are printed.
type lines struct {
	mu sync.Mutex
	// mu guards all.
	out *bufio.Writer
	err error

	stop    chan struct{}
	flusher sync.WaitGroup
}

func newLines(w io.Writer) *lines {
	l := &lines{out: bufio.NewWriterSize(w, 1<<16), stop: make(chan struct{})}
	l.flusher.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
			l.mu.Lock()
			l.err = errors.Join(l.err, l.out.Flush())
			l.mu.Unlock()
		}
	})
	return l
}

func (l *lines) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.out, format+"\n", args...)
	l.err = errors.Join(l.err, err)
}

func (l *lines) close() error {
	close(l.stop)
	l.flusher.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.out.Flush())
}

// process is a process with a role that runs.
type process struct {
	name  string
	stop  func() // ends it and waits; it is called at the test's end too
	ready chan struct{}
}

// start starts a process. Each line it prints is given to read, from one goroutine, but for "ready".
func start(t *testing.T, s script, read func(words []string)) *process {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{name: s.Role + " " + s.Name, ready: make(chan struct{})}
	var reader sync.WaitGroup
	reader.Go(func() {
		text := bufio.NewScanner(out)
		text.Buffer(nil, 1<<20)
		for text.Scan() {
			if text.Text() == "ready" {
				close(p.ready)
				continue
			}
			read(strings.Fields(text.Text()))
		}
		if err := text.Err(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	})
	p.stop = sync.OnceFunc(func() {
		if err := in.Close(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
		reader.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *process) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-time.After(patience):
		t.Fatalf("%s is not ready within %v", p.name, patience)
	}
}
