// Package pipeline is a publisher's connection to one server: commands of many callers are written
// as they come, and the replies are handed out in order.
package pipeline

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Conn is a publisher's connection. Any number of commands are in flight on it, and no goroutine
// stands between it and who writes: callers of Publish write themselves, and read too if they are
// alone. rueidis has one command, or one pipeline, of each caller in flight, which makes the caller
// wait for the replies. It does not say when it has written, so two pipelines that belong behind
// each other cannot be in flight at once.
//
// The holder of the write token may write, the holder of the read token may read. Both are channels
// and not locks because their holders do I/O.
type Conn struct {
	conn   net.Conn
	raw    syscall.RawConn // nil: a write may block
	socket syscall.RawConn // nil: nobody knows what the kernel has sent

	quit chan struct{} // closed by Stop

	writeToken chan struct{} // capacity 1: who has put something in may use Out
	OnRelease  func()        // not nil: called when the token was released and somebody may have asked for it in vain
	Out        []byte        // what is to be written yet
	writeFn    func(fd uintptr) bool
	wrote      int
	writeErr   error // of writeFn

	reading  chan struct{} // capacity 1: who has put something in may use what follows
	in       []byte
	from, to int // of in, what was not looked at yet
	current  pendingRequest
	stall    stall     // of current
	checkAt  time.Time // when something must have moved for it, or that is counted
	lastRead time.Time // when something was read last

	written      atomic.Uint64 // bytes, ever
	inFlight     atomic.Int64  // requests that are not completed
	lastProgress atomic.Int64  // since when nothing moved for current, in nanoseconds after created; 0: there is none
	created      time.Time
	served       atomic.Bool   // Serve reads
	readerWanted atomic.Bool   // somebody who does not read enqueued something lately
	readable     chan struct{} // capacity 1: there is something to read for Serve
	OnFailure    func(error)   // not nil: Serve calls it when the connection has failed

	mu sync.Mutex
	// mu guards what follows.
	requests      []pendingRequest // in order; replies to the one before, current, arrive
	enqueuedCount uint64           // how many there ever were
	err           error            // not nil: nothing can be sent any more
	idling        bool             // Serve reads though nothing is in flight
	stopped       bool
}

// tlsConn is a [tls.Conn], or one that stands in front of it.
type tlsConn interface{ NetConn() net.Conn }

// pendingRequest is a number of commands that go together.
type pendingRequest struct {
	handler ReplyHandler
	due     int // replies
	began   time.Time
	timeout time.Duration // for how long nothing may move
	size    int           // of its commands, in bytes
	end     uint64        // where they end in all that was ever written
}

// ReplyHandler is told what becomes of a request. The goroutine that reads calls it.
type ReplyHandler interface {
	// Reply is called for each reply, in order.
	Reply(r resp.Reply)
	// Completed is called once, after the last reply or when no more will come.
	Completed(err error)
}

const (
	replyBytes = 16 << 10
	maxOut     = 512 << 10 // of a buffer that is kept
)

// New returns the pipeline of a connection that is logged in, or is to be.
func New(conn net.Conn) *Conn {
	p := &Conn{
		conn: conn, writeToken: make(chan struct{}, 1), reading: make(chan struct{}, 1), readable: make(chan struct{}, 1),
		in: make([]byte, replyBytes), quit: make(chan struct{}), created: time.Now(),
	}
	p.raw, p.socket = rawConn(conn), socketOf(conn)
	p.writeFn = func(fd uintptr) bool {
		p.wrote, p.writeErr = writeSome(fd, p.Out)
		return true
	}
	return p
}

// Enqueue says that the commands of h were added to Out behind its first before bytes, and that the
// server answers with due replies. The connection fails if nothing moves on it for timeout while
// this is the oldest request in flight. If it has failed already, Enqueue takes the commands out
// again and h is told nothing. The caller holds the write token.
func (p *Conn) Enqueue(h ReplyHandler, due int, timeout time.Duration, before int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		p.Out = p.Out[:before]
		return p.err
	}
	now := time.Now()
	p.inFlight.Add(1)
	p.enqueuedCount++
	f := pendingRequest{handler: h, due: due, began: now, timeout: timeout, size: len(p.Out) - before, end: p.written.Load() + uint64(len(p.Out))}
	p.requests = append(p.requests, f)
	if p.idling {
		p.idling = false
		_ = p.conn.SetReadDeadline(now.Add(f.checkInterval())) // fails only when the connection has, and who reads finds out
	}
	return nil
}

// Acquire waits for the write token.
func (p *Conn) Acquire() { p.writeToken <- struct{}{} }

// TryAcquire takes the write token if it is free, and reports whether it was.
func (p *Conn) TryAcquire() bool {
	select {
	case p.writeToken <- struct{}{}:
		return true
	default:
		return false
	}
}

// Release gives the write token back. The caller looks itself whether somebody asked for it in
// vain.
func (p *Conn) Release() { <-p.writeToken }

// MayBlock reports whether every write to the connection may block.
func (p *Conn) MayBlock() bool { return p.raw == nil }

// ReleaseAndNotify gives the write token back and calls OnRelease.
func (p *Conn) ReleaseAndNotify() {
	<-p.writeToken
	if p.OnRelease != nil {
		p.OnRelease()
	}
}

// Flush writes Out. Unless it may wait it writes as much as the kernel takes, and reports whether
// that was all. The connection fails if the kernel takes nothing for timeout; then the reader is
// told. The caller holds the write token.
func (p *Conn) Flush(timeout time.Duration, mayWait bool) (all bool) {
	var err error
	if p.raw != nil {
		if err = p.raw.Write(p.writeFn); err == nil {
			p.written.Add(uint64(p.wrote))
			p.dropOut(p.wrote)
			err = p.writeErr
		}
	}
	if err == nil && len(p.Out) > 0 && mayWait {
		err = p.writeWaiting(timeout)
	}
	if err != nil {
		p.Out = nil
		p.CloseWith(err)
		return true
	}
	return len(p.Out) == 0
}

// dropOut takes what was written off Out.
func (p *Conn) dropOut(n int) {
	if p.Out = p.Out[:copy(p.Out, p.Out[n:])]; len(p.Out) == 0 && cap(p.Out) > maxOut {
		p.Out = nil
	}
}

// CloseWith ends the connection for a reason. Who reads, now or later, finds out.
func (p *Conn) CloseWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	conn := p.conn
	if secure, ok := conn.(tlsConn); ok {
		conn = secure.NetConn() // TLS would say goodbye first, and wait for a server that hangs
	}
	_ = conn.Close()
}

// read waits until something arrives, and hands the replies out. While nothing is in flight it
// waits for readLinger only. The caller holds the read token.
func (p *Conn) read() {
	var deadline time.Time
	if p.next() {
		deadline = p.checkAt
	} else {
		deadline = time.Now().Add(readLinger)
	}
	p.makeRoom()
	err := p.conn.SetReadDeadline(deadline)
	var n int
	if err == nil {
		n, err = p.conn.Read(p.in[p.to:])
	}
	p.consume(n, err)
}

// consume takes in what was read behind what was not looked at yet.
func (p *Conn) consume(n int, err error) {
	if p.to += n; n > 0 {
		p.lastRead = time.Now()
	}
	replied, failure := p.parse()
	if failure != nil {
		err = failure
	}
	if n > 0 && p.stall.received(replied, p.to-p.from) && p.current.handler != nil {
		p.checkAt = p.lastRead.Add(p.current.checkInterval())
		p.lastProgress.Store(max(1, int64(p.lastRead.Sub(p.created))))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if p.current.handler == nil || n > 0 {
			return // the deadline of a request that is completed since
		}
		err = p.checkStall(time.Now())
	}
	if err != nil {
		p.fail(err)
	}
}

// readLinger is how long Serve waits for the next request where it would be woken for the replies.
// To wake it twice costs more than to wake, for a while, a caller that would have read itself.
const readLinger = 5 * time.Millisecond

// makeRoom makes room behind what was not looked at yet.
func (p *Conn) makeRoom() {
	if p.from > 0 {
		p.from, p.to = 0, copy(p.in, p.in[p.from:p.to])
	}
	if p.to == len(p.in) {
		p.in = append(p.in, make([]byte, len(p.in))...)
	}
}

// parse hands over the replies that have arrived, and reports whether there were any.
func (p *Conn) parse() (replied bool, err error) {
	for p.from < p.to {
		r, n, err := resp.Read(p.in[p.from:p.to])
		if err != nil {
			return replied, err
		}
		if n == 0 {
			return replied, nil
		}
		if !p.next() {
			return replied, resp.ErrUnasked
		}
		replied = true
		p.from += n
		p.current.handler.Reply(r)
		if p.current.due--; p.current.due == 0 {
			p.complete(nil)
		}
	}
	return replied, nil
}

// next makes the oldest request in flight the current one, and reports whether there is any.
func (p *Conn) next() bool {
	if p.current.handler != nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.requests) == 0 {
		return false
	}
	p.current = p.requests[0]
	p.stall.begin()
	since := p.current.began
	if p.lastRead.After(since) { // until then those before it were answered
		since = p.lastRead
	}
	p.checkAt = since.Add(p.current.checkInterval())
	p.lastProgress.Store(max(1, int64(since.Sub(p.created))))
	n := copy(p.requests, p.requests[1:])
	p.requests[n] = pendingRequest{}
	p.requests = p.requests[:n]
	return true
}

// complete ends the current request.
func (p *Conn) complete(err error) {
	c := p.current.handler
	p.current = pendingRequest{}
	p.lastProgress.Store(0)
	p.inFlight.Add(-1)
	c.Completed(err)
}

// fail ends the connection and all that is in flight.
func (p *Conn) fail(err error) {
	p.CloseWith(err)
	err = p.failure() // the first reason
	for p.next() {
		p.complete(err)
	}
}

// WakeReader has Serve read, unless it does already. Who enqueued something and does not read calls
// it.
func (p *Conn) WakeReader() {
	if !p.readerWanted.Load() {
		p.readerWanted.Store(true)
	}
	p.wakeReaderOnce()
}

func (p *Conn) wakeReaderOnce() {
	if !p.served.Load() {
		select {
		case p.readable <- struct{}{}:
		default:
		}
	}
}

// Failure returns why nothing can be sent any more; nil if it can.
func (p *Conn) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ReadUntil reads, if nobody else does, until done has something, nothing is in flight, or it has
// read so many times. It reports whether it received from done.
func (p *Conn) ReadUntil(done <-chan struct{}, times int) (is bool) {
	select {
	case p.reading <- struct{}{}:
	default:
		p.wakeReaderOnce()
		return false
	}
	for ; times > 0 && p.inFlight.Load() > 0; times-- {
		p.read()
		select {
		case <-done:
			is = true
		default:
			continue
		}
		break
	}
	<-p.reading
	if p.inFlight.Load() > 0 {
		p.wakeReaderOnce()
	}
	return is
}
