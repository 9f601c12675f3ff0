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
type pipe struct {
	conn   net.Conn
	raw    syscall.RawConn // nil: a write may block
	socket syscall.RawConn // nil: nobody knows what the kernel has sent

	quit chan struct{} // closed by dismiss

	turn   chan struct{} // capacity 1: who has put something in may use out
	given  func()        // not nil: called when the turn was given back, where somebody may have come for it in vain
	out    []byte        // what is to be written yet
	push   func(fd uintptr) bool
	pushed int
	failed error // of push

	reading  chan struct{} // capacity 1: who has put something in may use what follows
	in       []byte
	from, to int // of in, what was not looked at yet
	current  flight
	stall    stall     // of current
	lookAt   time.Time // when something must have moved for it, or that is counted
	heard    time.Time // when something was read last

	written atomic.Uint64 // bytes, ever
	aloft   atomic.Int64  // flights that have not landed
	since   atomic.Int64  // since when nothing moved for current, in nanoseconds after born; 0: there is none
	born    time.Time
	served  atomic.Bool   // serve reads
	wanted  atomic.Bool   // somebody launched something lately who does not read
	unread  chan struct{} // capacity 1: there is something to read for serve
	broke   func(error)   // not nil: serve calls it when the connection has failed

	mu sync.Mutex
	// mu guards what follows.
	flights   []flight // in order; replies to the one before, current, arrive
	launched  uint64   // how many there ever were
	err       error    // not nil: nothing can be sent any more
	dozing    bool     // serve reads though nothing is aloft
	dismissed bool
}

// flight is a number of commands that go together.
type flight struct {
	cargo    cargo
	due      int // replies
	began    time.Time
	patience time.Duration // for how long nothing may move
	size     int           // of its commands, in bytes
	end      uint64        // where they end in all that was ever written
}

// cargo is told what becomes of a flight, by whoever reads.
type cargo interface {
	// reply is called for each reply, in order.
	reply(r resp.Reply)
	// landed is called once, after the last reply or when no more will come.
	landed(err error)
}

const (
	replyBytes = 16 << 10
	maxOut     = 512 << 10 // of a buffer that is kept
)

func newPipe(conn net.Conn) *pipe {
	p := &pipe{
		conn: conn, turn: make(chan struct{}, 1), reading: make(chan struct{}, 1), unread: make(chan struct{}, 1),
		in: make([]byte, replyBytes), quit: make(chan struct{}), born: time.Now(),
	}
	p.raw, p.socket = rawConn(conn), socketOf(conn)
	p.push = func(fd uintptr) bool {
		p.pushed, p.failed = writeSome(fd, p.out)
		return true
	}
	return p
}

// launch says that a cargo's commands were added to out behind what was there before, and get an answer to each. The
// connection fails if nothing moves on it for a time while the cargo is the oldest that is aloft. When it has failed
// already the commands are taken out again, and the cargo is told nothing. The caller has the turn.
func (p *pipe) launch(c cargo, due int, patience time.Duration, before int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		p.out = p.out[:before]
		return p.err
	}
	now := time.Now()
	p.aloft.Add(1)
	p.launched++
	f := flight{cargo: c, due: due, began: now, patience: patience, size: len(p.out) - before, end: p.written.Load() + uint64(len(p.out))}
	p.flights = append(p.flights, f)
	if p.dozing {
		p.dozing = false
		_ = p.conn.SetReadDeadline(now.Add(f.tick())) // fails only when the connection has, and who reads finds out
	}
	return nil
}

// giveTurn ends the caller's turn.
func (p *pipe) giveTurn() {
	<-p.turn
	if p.given != nil {
		p.given()
	}
}

// flush writes what is in out. Unless it may wait it writes as much as the kernel takes, and reports whether that was all.
// It fails when nothing was taken for patience; then whoever reads is told. The caller has the turn.
func (p *pipe) flush(patience time.Duration, mayWait bool) (all bool) {
	var err error
	if p.raw != nil {
		if err = p.raw.Write(p.push); err == nil {
			p.written.Add(uint64(p.pushed))
			p.dropOut(p.pushed)
			err = p.failed
		}
	}
	if err == nil && len(p.out) > 0 && mayWait {
		err = p.writeWaiting(patience)
	}
	if err != nil {
		p.out = nil
		p.hangUp(err)
		return true
	}
	return len(p.out) == 0
}

// dropOut takes what was written off out.
func (p *pipe) dropOut(n int) {
	if p.out = p.out[:copy(p.out, p.out[n:])]; len(p.out) == 0 && cap(p.out) > maxOut {
		p.out = nil
	}
}

// hangUp ends the connection for a reason. Who reads, or will, finds out.
func (p *pipe) hangUp(err error) {
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
func (p *pipe) read() {
	var deadline time.Time
	if p.next() {
		deadline = p.lookAt
	} else {
		deadline = time.Now().Add(linger)
	}
	p.makeRoom()
	err := p.conn.SetReadDeadline(deadline)
	var n int
	if err == nil {
		n, err = p.conn.Read(p.in[p.to:])
	}
	p.took(n, err)
}

// took takes in what was read behind what was not looked at yet.
func (p *pipe) took(n int, err error) {
	if p.to += n; n > 0 {
		p.heard = time.Now()
	}
	replied, failure := p.parse()
	if failure != nil {
		err = failure
	}
	if n > 0 && p.stall.heard(replied, p.to-p.from) && p.current.cargo != nil {
		p.lookAt = p.heard.Add(p.current.tick())
		p.since.Store(max(1, int64(p.heard.Sub(p.born))))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if p.current.cargo == nil || n > 0 {
			return // the deadline of what has landed since
		}
		err = p.look(time.Now())
	}
	if err != nil {
		p.fail(err)
	}
}

// linger is for how long serve waits for the next flight where it would be woken for the replies: to be woken twice costs
// more than that a caller who would read itself has to be woken, for a while.
const linger = 5 * time.Millisecond

// makeRoom makes room behind what was not looked at yet.
func (p *pipe) makeRoom() {
	if p.from > 0 {
		p.from, p.to = 0, copy(p.in, p.in[p.from:p.to])
	}
	if p.to == len(p.in) {
		p.in = append(p.in, make([]byte, len(p.in))...)
	}
}

// parse hands over the replies that have arrived, and reports whether there were any.
func (p *pipe) parse() (replied bool, err error) {
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
		p.current.cargo.reply(r)
		if p.current.due--; p.current.due == 0 {
			p.land(nil)
		}
	}
	return replied, nil
}

// errUnasked is why a connection ends on which more is said than was asked.
var errUnasked = errors.New("redis: the server answered what was not asked")

// next makes the first flight that is aloft the current one, and reports whether there is any.
func (p *pipe) next() bool {
	if p.current.cargo != nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.flights) == 0 {
		return false
	}
	p.current = p.flights[0]
	p.stall.begin()
	since := p.current.began
	if p.heard.After(since) { // until then those before it were answered
		since = p.heard
	}
	p.lookAt = since.Add(p.current.tick())
	p.since.Store(max(1, int64(since.Sub(p.born))))
	n := copy(p.flights, p.flights[1:])
	p.flights[n] = flight{}
	p.flights = p.flights[:n]
	return true
}

// land ends the current flight.
func (p *pipe) land(err error) {
	c := p.current.cargo
	p.current = flight{}
	p.since.Store(0)
	p.aloft.Add(-1)
	c.landed(err)
}

// fail ends the connection and all that is aloft.
func (p *pipe) fail(err error) {
	p.hangUp(err)
	err = p.broken() // the first reason
	for p.next() {
		p.land(err)
	}
}

// wake has serve read, unless it does already. Who has launched something and does not read itself calls it.
func (p *pipe) wake() {
	if !p.wanted.Load() {
		p.wanted.Store(true)
	}
	p.wakeOnce()
}

func (p *pipe) wakeOnce() {
	if !p.served.Load() {
		select {
		case p.unread <- struct{}{}:
		default:
		}
	}
}

// broken returns why nothing can be sent any more; nil if it can.
func (p *pipe) broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// readUntil reads, if nobody else does, until done has something, nothing is aloft, or it has read so many times. It
// reports whether it received from done.
func (p *pipe) readUntil(done <-chan struct{}, times int) (is bool) {
	select {
	case p.reading <- struct{}{}:
	default:
		p.wakeOnce()
		return false
	}
	for ; times > 0 && p.aloft.Load() > 0; times-- {
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
	if p.aloft.Load() > 0 {
		p.wakeOnce()
	}
	return is
}
