//go:build !linux

package redistest

import "syscall"

// childAttr asks for nothing: only Linux kills children with their parent.
// Elsewhere servers end when they are closed.
func childAttr() *syscall.SysProcAttr { return nil }

// isStopped cannot look; a stop signal takes effect soon enough.
func isStopped(int) bool { return true }
