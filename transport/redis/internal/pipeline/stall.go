package pipeline

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// writeChunk is how much one Write is given where it blocks and may not be tried again once it
	// timed out, as TLS. So that a slow connection counts as one and not as a dead one, it must
	// take as much within the request's timeout.
	writeChunk = 16 << 10
	// unseenRate is how many bytes a second a connection is given time for, beside the timeout,
	// whose kernel does not tell what it has sent.
	unseenRate = 256 << 10
	// leastMoved is how many bytes have to go out, or arrive of a reply, to count, unless that is
	// the end of it. So that a server that takes or says a byte now and then holds nobody up for
	// ever.
	leastMoved = 1 << 10
)

// maxStalledChecks is how many checks, spread over the timeout, have to find nothing before a
// connection counts as dead. A process that stood still itself, and finds the timeout over, makes
// one check and not all of them.
const maxStalledChecks = 8

// stall decides when a connection is dead because nothing moves on it: no reply comes, and nothing
// of the oldest request goes out, or so little that it would take for ever. How long the whole
// takes does not count, so that a large event may take its time on a slow link. What is written
// behind the oldest request does not count either: a server that hangs takes bytes for as long as
// its kernel has room. stall is pure, and counts checks as pulse does, and for the same reason.
type stall struct {
	idleChecks int    // checks in a row that found nothing
	unsent     bool   // at the last check not all of the request had left
	sentTo     uint64 // up to where it had, when that counted last
	partial    int    // bytes of a reply that had arrived, when that counted last
}

// received takes in that something arrived: whether there was the end of a reply, and how many
// bytes there are of the next. It reports whether that counts.
func (s *stall) received(ended bool, partial int) bool {
	if !ended && partial < s.partial+leastMoved {
		return false
	}
	s.idleChecks, s.partial = 0, partial
	return true
}

// begin is for the next request, when those before it were answered.
func (s *stall) begin() { *s = stall{} }

// check takes in up to where bytes have left, of which the request's end at end. extra is how many
// checks it is given beside maxStalledChecks. It reports whether something moved, and whether the
// connection is dead.
func (s *stall) check(left, end uint64, extra int) (moved, dead bool) {
	left = min(left, end)
	moved = s.unsent && left > s.sentTo && (left >= s.sentTo+leastMoved || left == end)
	if s.idleChecks++; moved {
		s.idleChecks = 0
	}
	if moved || !s.unsent {
		s.sentTo = left
	}
	s.unsent = left < end
	return moved, s.idleChecks >= maxStalledChecks+extra
}

// checkInterval is how long a request waits between two checks.
func (f *pendingRequest) checkInterval() time.Duration {
	return max(f.timeout/maxStalledChecks, time.Microsecond)
}

// checkStall is for when the reader has waited for checkInterval in vain. It returns why the
// connection is dead; nil if it may live.
func (p *Conn) checkStall(now time.Time) error {
	f := &p.current
	p.checkAt = now.Add(f.checkInterval())
	left, extra := p.written.Load(), 0
	if unsent, seen := unsentBytes(p.socket); seen {
		left -= min(left, unsent)
	} else {
		extra = int(float64(f.size) / (unseenRate * f.checkInterval().Seconds()))
	}
	moved, dead := p.stall.check(left, f.end, extra)
	if moved {
		p.lastProgress.Store(max(1, int64(now.Sub(p.created))))
	}
	if !dead {
		return nil
	}
	return fmt.Errorf("redis: nothing was sent and nothing was answered for %v: %w", f.timeout, os.ErrDeadlineExceeded)
}

// socketOf returns what tells of a connection's socket, within TLS too; nil if it has none.
func socketOf(conn net.Conn) syscall.RawConn {
	if secure, ok := conn.(tlsConn); ok {
		conn = secure.NetConn()
	}
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// writeWaiting writes Out, for as long as the connection takes something now and then.
func (p *Conn) writeWaiting(limit time.Duration) (err error) {
	done, counted, quiet := 0, 0, 0
	_, secure := p.conn.(tlsConn)
	for err == nil && done < len(p.Out) && quiet < maxStalledChecks {
		rest, wait := p.Out[done:], limit/maxStalledChecks
		if p.raw == nil { // it may be of no use once a Write has timed out
			rest, wait = rest[:min(len(rest), writeChunk)], limit
		}
		if err = p.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
			break
		}
		var n int
		n, err = p.conn.Write(rest)
		done += n
		p.written.Add(uint64(n))
		moved := done >= counted+leastMoved || done == len(p.Out)
		if moved {
			counted, quiet = done, 0
		}
		switch {
		case !errors.Is(err, os.ErrDeadlineExceeded):
		case !secure && moved:
			err = nil
		case p.raw != nil && quiet+1 < maxStalledChecks:
			err, quiet = nil, quiet+1
		}
	}
	p.dropOut(done)
	_ = p.conn.SetWriteDeadline(time.Time{}) // fails only when the connection has, and who reads finds out
	return err
}
