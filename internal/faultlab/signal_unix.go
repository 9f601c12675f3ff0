//go:build unix

package faultlab

import "syscall"

// suspend stops the process where it is, until goOn.
func (p *process) suspend() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

func (p *process) goOn() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// childAttr keeps signals to this process's group away from the processes it starts: they end when they are told to.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
