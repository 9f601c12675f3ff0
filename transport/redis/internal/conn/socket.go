package conn

import (
	"net"
	"sync/atomic"
)

// Socket is a connection that counts what arrives.
type Socket struct {
	net.Conn
	Hello     ServerHello
	ReadCount atomic.Uint64
	dry       atomic.Pointer[func()] // not nil: called before it is read, when all that was read before is dealt with
}

// Read is net.Conn's.
func (s *Socket) Read(p []byte) (int, error) {
	if dry := s.dry.Load(); dry != nil {
		(*dry)()
	}
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.ReadCount.Add(1)
	}
	return n, err
}

// OnDrained sets what is called before more is read, when all that was read before is dealt with.
func (s *Socket) OnDrained(f func()) { s.dry.Store(&f) }
