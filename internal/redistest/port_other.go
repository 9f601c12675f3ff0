//go:build !linux

package redistest

import (
	"context"
	"fmt"
	"net"
)

// reservePort lets the kernel choose a port and gives it back at once: here a
// socket cannot keep a port while a server listens on it. A start that loses
// the race for it is tried again with other ports.
func reservePort() (port, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return port{}, fmt.Errorf("redistest: choose a port: %w", err)
	}
	number := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener's address
	if err := l.Close(); err != nil {
		return port{}, fmt.Errorf("redistest: choose a port: %w", err)
	}
	return port{number: number, release: func() {}}, nil
}
