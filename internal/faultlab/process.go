package faultlab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// process is this program once more, in a process of its own, with a driver.
type process struct {
	ProcessConfig
	cmd    *exec.Cmd
	in     io.WriteCloser
	reader sync.WaitGroup
	ready  chan struct{}
	memory chan Memory

	// What it told last.
	id                                  atomic.Pointer[string]
	received, missing, voided, assigned atomic.Int64

	mu sync.Mutex
	// mu guards what follows.
	oldest   map[int]int64 // of a subscriber, by the index of each publisher that it has heard of, as in RunProcess
	ended    bool
	killed   bool
	problems []string
}

// Memory is what a process uses at one moment, after a garbage collection.
type Memory struct {
	Goroutines int
	Heap       int64
}

// startProcess starts a process and returns when it is ready.
func startProcess(ctx context.Context, s ProcessConfig) (*process, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	p := &process{ProcessConfig: s, ready: make(chan struct{}), memory: make(chan Memory, 1), oldest: make(map[int]int64)}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), self) // it ends with its standard input
	p.cmd.Env = append(os.Environ(), ProcessEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = childAttr()
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	gone := make(chan struct{})
	p.reader.Go(func() {
		defer close(gone)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			p.parse(lines.Text())
		}
	})
	select {
	case <-p.ready:
		return p, nil
	case <-gone:
		return nil, errors.Join(fmt.Errorf("faultlab: %s ended before it was ready", s.name()), p.stop())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("faultlab: %s is not ready: %w", s.name(), ctx.Err()), p.kill())
	}
}

// parse reads a line.
func (p *process) parse(line string) {
	words := strings.Fields(line)
	number := func(i int) int64 {
		if i < len(words) {
			if n, err := strconv.ParseInt(words[i], 10, 64); err == nil {
				return n
			}
		}
		p.problem("it said %q", line)
		return 0
	}
	if len(words) == 0 {
		return
	}
	switch words[0] {
	case "id":
		id := strings.Join(words[1:], " ")
		p.id.Store(&id)
	case "ready":
		close(p.ready)
	case "at":
		p.received.Store(number(1))
		p.missing.Store(number(2))
		p.voided.Store(number(3))
		for _, word := range words[min(4, len(words)):] {
			p.parseOldest(line, word)
		}
	case "memory":
		p.memory <- Memory{Goroutines: int(number(1)), Heap: number(2)}
	case "sent":
		p.assigned.Store(number(1))
	default:
		p.problem("it said %q", line)
	}
}

// parseOldest reads a word PUBLISHER=TIME.
func (p *process) parseOldest(line, word string) {
	left, right, _ := strings.Cut(word, "=")
	publisher, err := strconv.Atoi(left)
	began, err2 := strconv.ParseInt(right, 10, 64)
	if err != nil || err2 != nil {
		p.problem("it said %q", line)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.oldest[publisher] = began
}

// oldestOf is as in RunProcess, and 0 for a publisher that the subscriber has not heard of.
func (p *process) oldestOf(publisher int) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return at(p.oldest[publisher])
}

func (p *process) problem(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, p.name()+": "+fmt.Sprintf(format, args...))
}

// queryMemory returns what the process uses now.
func (p *process) queryMemory(ctx context.Context) (Memory, error) {
	if _, err := io.WriteString(p.in, "memory\n"); err != nil {
		return Memory{}, fmt.Errorf("faultlab: %s: %w", p.name(), err)
	}
	select {
	case m := <-p.memory:
		return m, nil
	case <-ctx.Done():
		return Memory{}, fmt.Errorf("faultlab: %s does not answer: %w", p.name(), ctx.Err())
	}
}

// stopTimeout bounds how long a process may take to say its last words.
const stopTimeout = LongTimeout + 10*time.Second

// stop ends the process in peace and returns when it is gone. It may be called again.
func (p *process) stop() error {
	if !p.end(false) {
		return nil
	}
	_ = p.in.Close() // an error means that it is gone
	late := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	p.reader.Wait()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("faultlab: %s: %w", p.name(), err)
	}
	return nil
}

// kill ends it with SIGKILL.
func (p *process) kill() error {
	if !p.end(true) {
		return nil
	}
	err := p.cmd.Process.Kill()
	p.reader.Wait()
	_ = p.cmd.Wait() // it tells of the signal
	_ = p.in.Close()
	return err
}

// end notes that the process ends, and reports false if it does already.
func (p *process) end(killed bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := !p.ended
	p.ended, p.killed = true, p.killed || killed && first
	return first
}

func (p *process) wasKilled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}
