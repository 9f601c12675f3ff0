package pipeline

import (
	"syscall"
	"unsafe"
)

// unsentBytes returns how many bytes that were written the other end's kernel has not confirmed;
// seen is false if nobody can tell.
func unsentBytes(socket syscall.RawConn) (n uint64, seen bool) {
	if socket == nil {
		return 0, false
	}
	var queued int32
	err := socket.Control(func(fd uintptr) {
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&queued)))
		seen = errno == 0
	})
	return uint64(max(queued, 0)), seen && err == nil
}
