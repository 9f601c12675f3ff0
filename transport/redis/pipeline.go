package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// pipe is a publisher's connection. Any number of commands are under way on it, and it has no goroutine between it and
// whoever writes: callers of Publish do, and read too if they are alone. rueidis has one command, or one pipeline, from
// each caller under way, which has it wait for the replies; it does not say when it has written, so that two that belong
// behind each other cannot be under way at once.
//
// Who holds turn may write, who holds reading may read; both are channels and not locks because their holders do I/O.
type pipeline struct {
	conn   net.Conn
	raw    syscall.RawConn // nil: a write may block
	socket syscall.RawConn // nil: nobody knows what the kernel has sent

	quit chan struct{} // closed by dismiss

	writeToken chan struct{} // capacity 1: who has put something in may use out
	onRelease  func()        // not nil: called when the turn was given back, where somebody may have come for it in vain
	out        []byte        // what is to be written yet
	writeFn    func(fd uintptr) bool
	wrote      int
	writeErr   error // of push

	reading  chan struct{} // capacity 1: who has put something in may use what follows
	in       []byte
	from, to int // of in, what was not looked at yet
	current  pipelineRequest
	stall    stall     // of current
	checkAt  time.Time // when something must have moved for it, or that is counted
	lastRead time.Time // when something was read last

	written      atomic.Uint64 // bytes, ever
	inFlight     atomic.Int64  // flights that have not landed
	lastProgress atomic.Int64  // since when nothing moved for current, in nanoseconds after born; 0: there is none
	created      time.Time
	served       atomic.Bool   // serve reads
	readerWanted atomic.Bool   // somebody launched something lately who does not read
	readable     chan struct{} // capacity 1: there is something to read for serve
	onFailure    func(error)   // not nil: serve calls it when the connection has failed

	mu sync.Mutex
	// mu guards what follows.
	requests      []pipelineRequest // in order; replies to the one before, current, arrive
	enqueuedCount uint64            // how many there ever were
	err           error             // not nil: nothing can be sent any more
	idling        bool              // serve reads though nothing is aloft
	stopped       bool
}

// flight is a number of commands that go together.
type pipelineRequest struct {
	handler replyHandler
	due     int // replies
	began   time.Time
	timeout time.Duration // for how long nothing may move
	size    int           // of its commands, in bytes
	end     uint64        // where they end in all that was ever written
}

// cargo is told what becomes of a flight, by whoever reads.
type replyHandler interface {
	// reply is called for each reply, in order.
	reply(r resp.Reply)
	// landed is called once, after the last reply or when no more will come.
	completed(err error)
}

const (
	replyBytes = 16 << 10
	maxOut     = 512 << 10 // of a buffer that is kept
)

func newPipeline(conn net.Conn) *pipeline {
	p := &pipeline{
		conn: conn, writeToken: make(chan struct{}, 1), reading: make(chan struct{}, 1), readable: make(chan struct{}, 1),
		in: make([]byte, replyBytes), quit: make(chan struct{}), created: time.Now(),
	}
	p.raw, p.socket = rawConn(conn), socketOf(conn)
	p.writeFn = func(fd uintptr) bool {
		p.wrote, p.writeErr = writeSome(fd, p.out)
		return true
	}
	return p
}

// launch says that a cargo's commands were added to out behind what was there before, and get an answer to each. The
// connection fails if nothing moves on it for a time while the cargo is the oldest that is aloft. When it has failed
// already the commands are taken out again, and the cargo is told nothing. The caller has the turn.
func (p *pipeline) enqueue(c replyHandler, due int, patience time.Duration, before int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		p.out = p.out[:before]
		return p.err
	}
	now := time.Now()
	p.inFlight.Add(1)
	p.enqueuedCount++
	f := pipelineRequest{handler: c, due: due, began: now, timeout: patience, size: len(p.out) - before, end: p.written.Load() + uint64(len(p.out))}
	p.requests = append(p.requests, f)
	if p.idling {
		p.idling = false
		_ = p.conn.SetReadDeadline(now.Add(f.checkInterval())) // fails only when the connection has, and who reads finds out
	}
	return nil
}

// giveTurn ends the caller's turn.
func (p *pipeline) releaseWriteToken() {
	<-p.writeToken
	if p.onRelease != nil {
		p.onRelease()
	}
}

// flush writes what is in out. Unless it may wait it writes as much as the kernel takes, and reports whether that was all.
// It fails when nothing was taken for patience; then whoever reads is told. The caller has the turn.
func (p *pipeline) flush(patience time.Duration, mayWait bool) (all bool) {
	var err error
	if p.raw != nil {
		if err = p.raw.Write(p.writeFn); err == nil {
			p.written.Add(uint64(p.wrote))
			p.dropOut(p.wrote)
			err = p.writeErr
		}
	}
	if err == nil && len(p.out) > 0 && mayWait {
		err = p.writeWaiting(patience)
	}
	if err != nil {
		p.out = nil
		p.closeWith(err)
		return true
	}
	return len(p.out) == 0
}

// dropOut takes what was written off out.
func (p *pipeline) dropOut(n int) {
	if p.out = p.out[:copy(p.out, p.out[n:])]; len(p.out) == 0 && cap(p.out) > maxOut {
		p.out = nil
	}
}

// hangUp ends the connection for a reason. Who reads, or will, finds out.
func (p *pipeline) closeWith(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	conn := p.conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // TLS would say goodbye first, and wait for a server that hangs
	}
	_ = conn.Close()
}

// read waits until something arrives, and hands replies to their cargoes. When none is aloft it waits for linger only. The
// caller holds reading.
func (p *pipeline) read() {
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

// took takes in what was read behind what was not looked at yet.
func (p *pipeline) consume(n int, err error) {
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
			return // the deadline of what has landed since
		}
		err = p.checkStall(time.Now())
	}
	if err != nil {
		p.fail(err)
	}
}

// linger is for how long serve waits for the next flight where it would be woken for the replies: to be woken twice costs
// more than that a caller who would read itself has to be woken, for a while.
const readLinger = 5 * time.Millisecond

// makeRoom makes room behind what was not looked at yet.
func (p *pipeline) makeRoom() {
	if p.from > 0 {
		p.from, p.to = 0, copy(p.in, p.in[p.from:p.to])
	}
	if p.to == len(p.in) {
		p.in = append(p.in, make([]byte, len(p.in))...)
	}
}

// parse hands over the replies that have arrived, and reports whether there were any.
func (p *pipeline) parse() (replied bool, err error) {
	for p.from < p.to {
		r, n, err := resp.Read(p.in[p.from:p.to])
		if err != nil {
			return replied, err
		}
		if n == 0 {
			return replied, nil
		}
		if !p.next() {
			return replied, errUnasked
		}
		replied = true
		p.from += n
		p.current.handler.reply(r)
		if p.current.due--; p.current.due == 0 {
			p.complete(nil)
		}
	}
	return replied, nil
}

// errUnasked is why a connection ends on which more is said than was asked.
var errUnasked = errors.New("redis: the server answered what was not asked")

// next makes the first flight that is aloft the current one, and reports whether there is any.
func (p *pipeline) next() bool {
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
	p.requests[n] = pipelineRequest{}
	p.requests = p.requests[:n]
	return true
}

// land ends the current flight.
func (p *pipeline) complete(err error) {
	c := p.current.handler
	p.current = pipelineRequest{}
	p.lastProgress.Store(0)
	p.inFlight.Add(-1)
	c.completed(err)
}

// fail ends the connection and all that is aloft.
func (p *pipeline) fail(err error) {
	p.closeWith(err)
	err = p.failure() // the first reason
	for p.next() {
		p.complete(err)
	}
}

// wake has serve read, unless it does already. Who has launched something and does not read itself calls it.
func (p *pipeline) wakeReader() {
	if !p.readerWanted.Load() {
		p.readerWanted.Store(true)
	}
	p.wakeReaderOnce()
}

func (p *pipeline) wakeReaderOnce() {
	if !p.served.Load() {
		select {
		case p.readable <- struct{}{}:
		default:
		}
	}
}

// broken returns why nothing can be sent any more; nil if it can.
func (p *pipeline) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// readUntil reads, if nobody else does, until done has something, nothing is aloft, or it has read so many times. It
// reports whether it received from done.
func (p *pipeline) readUntil(done <-chan struct{}, times int) (is bool) {
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
