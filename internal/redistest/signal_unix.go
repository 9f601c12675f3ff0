//go:build unix

package redistest

import (
	"os"
	"syscall"
)

// The signals that stop and continue a process, and ask it to end.
var (
	signalStop os.Signal = syscall.SIGSTOP
	signalCont os.Signal = syscall.SIGCONT
	signalTerm os.Signal = syscall.SIGTERM
)
