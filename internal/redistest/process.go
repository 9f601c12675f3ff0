package redistest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// endTimeout bounds how long a killed process may take to be gone.
const endTimeout = 10 * time.Second

// A process is one run of a server: a child of this process that has been
// started and is reaped as soon as it ends.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended and was reaped
}

// startProcess runs the command in dir, its output appended to the file at
// logPath. The process does not depend on ctx.
func startProcess(ctx context.Context, dir, logPath, path string, args ...string) (*process, error) {
	// #nosec G304 -- a file in a directory of our own.
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("redistest: log of a server: %w", err)
	}
	// The child has its own descriptor; a plain file needs no copying goroutine.
	defer func() { _ = log.Close() }()

	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, childAttr()
	if err := theForker.start(cmd.Start); err != nil {
		return nil, fmt.Errorf("redistest: start a server: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go p.reap()
	return p, nil
}

// reap waits for the process to end. Its exit status tells nothing: most are
// killed on purpose, and why one failed is in its log.
func (p *process) reap() {
	_ = p.cmd.Wait()
	theForker.reaped()
	close(p.done)
}

// pid returns the process ID.
func (p *process) pid() int { return p.cmd.Process.Pid }

// running reports whether the process has not ended; a stopped one runs.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends sig, to this very process and never to one that got its number.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("redistest: signal %v to process %d: %w", sig, p.pid(), err)
	}
	return nil
}

// kill sends SIGKILL and waits until the process is gone; nil if it was.
func (p *process) kill() error {
	_ = p.cmd.Process.Kill() // an error means that it has ended already
	timeout := time.NewTimer(endTimeout)
	defer timeout.Stop()
	select {
	case <-p.done:
		return nil
	case <-timeout.C:
		return fmt.Errorf("redistest: process %d is still there %v after SIGKILL", p.pid(), endTimeout)
	}
}

// terminate sends SIGTERM and waits until the process has ended or ctx has.
func (p *process) terminate(ctx context.Context) error {
	if !p.running() {
		return nil
	}
	if err := p.signal(signalTerm); err != nil && p.running() {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("redistest: process %d does not end: %w", p.pid(), ctx.Err())
	}
}
