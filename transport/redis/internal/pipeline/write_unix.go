//go:build unix

package pipeline

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns a TCP connection as something that can be written to without waiting; nil for any
// other, as TLS is.
func rawConn(conn net.Conn) syscall.RawConn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeSome writes what the kernel takes at once.
func writeSome(fd uintptr, p []byte) (n int, err error) {
	for n < len(p) {
		k, err := syscall.Write(int(fd), p[n:])
		n += max(k, 0)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return n, nil
		case err != nil:
			return n, err
		}
	}
	return n, nil
}
