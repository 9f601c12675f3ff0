package redistest

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// childAttr makes the kernel kill a child when the thread that forked it ends
// (see [forker]); SIGKILL ends a stopped process too. The process group of its
// own keeps a terminal's Ctrl-C away from the servers, so that a program can
// still say goodbye to them.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// isStopped reports whether the process is stopped by a signal.
func isStopped(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// The state follows the command's name, which is in brackets and may
	// itself contain any character.
	i := bytes.LastIndexByte(stat, ')')
	return i >= 0 && i+2 < len(stat) && stat[i+2] == 'T'
}
