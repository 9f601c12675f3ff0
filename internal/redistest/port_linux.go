package redistest

import (
	"fmt"
	"sync"
	"syscall"
)

// reservePort binds a socket to a port the kernel chooses and keeps it bound
// without ever listening.
//
// Closing it and hoping would lose races: between our close and the server's
// bind, and again between a kill and a restart, the kernel may give the port
// to anybody. A socket that is bound, has SO_REUSEADDR and does not listen
// keeps the port out of the kernel's choice (for bind to port 0 and for
// outgoing connections), while a server that sets SO_REUSEADDR, as Redis does,
// may bind and listen beside it. Connections to a port on which nobody listens
// are refused as usual.
func reservePort() (port, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return port{}, fmt.Errorf("redistest: reserve a port: socket: %w", err)
	}
	fail := func(op string, err error) (port, error) {
		_ = syscall.Close(fd)
		return port{}, fmt.Errorf("redistest: reserve a port: %s: %w", op, err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return fail("SO_REUSEADDR", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fail("bind", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return fail("getsockname", err)
	}
	in4, ok := name.(*syscall.SockaddrInet4)
	if !ok {
		return fail("getsockname", fmt.Errorf("unexpected address %T", name))
	}
	return port{
		number:  in4.Port,
		release: sync.OnceFunc(func() { _ = syscall.Close(fd) }),
	}, nil
}
