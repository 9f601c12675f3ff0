package redistest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"
)

// exchange is what the cluster bus of a cluster goes through: a proxy in front
// of each node's bus port. A node's own connections come from an address of its
// own, so that a proxy knows who calls.
type exchange struct {
	running sync.WaitGroup // every goroutine

	mu        sync.Mutex // guards what follows
	listeners []net.Listener
	lines     map[*line]struct{}
	cut       map[string]bool // nodes that are cut off, by the address they call from
	closed    bool
}

// line is a connection of the bus.
type line struct {
	from, to string // addresses that the two ends call from
	caller   net.Conn
	callee   net.Conn // nil: it was made when one of the two was cut off
}

func newExchange() *exchange {
	return &exchange{lines: make(map[*line]struct{}), cut: make(map[string]bool)}
}

// sourceAddr is where the i-th node of a cluster calls from.
func sourceAddr(i int) string { return fmt.Sprintf("127.1.%d.%d", i/250+1, i%250+1) }

// add makes the proxy of a node that calls from an address, and returns its port.
// busPort tells the node's own.
func (x *exchange) add(of string, busPort func() int) (port int, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it listens at once
	if err != nil {
		return 0, fmt.Errorf("redistest: a proxy of the cluster bus: %w", err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.listeners = append(x.listeners, listener)
	x.running.Go(func() {
		for {
			caller, err := listener.Accept()
			if err != nil {
				return
			}
			x.running.Go(func() { x.connect(caller, of, busPort()) })
		}
	})
	return listener.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // it is TCP
}

// connect makes a line of a call. Who is cut off reaches nobody, and is not told.
func (x *exchange) connect(caller net.Conn, to string, busPort int) {
	from, _, _ := net.SplitHostPort(caller.RemoteAddr().String()) // the kernel's, and well formed
	l := &line{from: from, to: to, caller: caller}
	if x.whole(l) {
		callee, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(busPort)), time.Second) //nolint:noctx // see close
		if err != nil {
			_ = caller.Close()
			return
		}
		l.callee = callee
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		x.hangUpLocked(l)
		return
	}
	x.lines[l] = struct{}{}
	x.running.Go(func() { x.carry(l, l.caller, l.callee) })
	if l.callee != nil {
		x.running.Go(func() { x.carry(l, l.callee, l.caller) })
	}
}

// carry takes bytes from one end to the other until one of them hangs up. What
// is said while one of the two is cut off is lost, so the line is of no use then.
func (x *exchange) carry(l *line, from, to net.Conn) {
	defer x.hangUp(l)
	words := make([]byte, 16<<10)
	for {
		n, err := from.Read(words)
		if n > 0 && to != nil && x.whole(l) {
			if _, err := to.Write(words[:n]); err != nil {
				return
			}
		}
		if err != nil && !errors.Is(err, io.EOF) || n == 0 {
			return
		}
	}
}

func (x *exchange) whole(l *line) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.cut[l.from] && !x.cut[l.to]
}

func (x *exchange) hangUp(l *line) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hangUpLocked(l)
}

func (x *exchange) hangUpLocked(l *line) {
	delete(x.lines, l)
	_ = l.caller.Close()
	if l.callee != nil {
		_ = l.callee.Close()
	}
}

// set cuts a node off, or joins it again: then it is called, and calls, anew.
func (x *exchange) set(of string, off bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut[of] = off
	for l := range x.lines {
		if !off && (l.from == of || l.to == of) {
			x.hangUpLocked(l)
		}
	}
}

func (x *exchange) close() {
	x.mu.Lock()
	x.closed = true
	for _, listener := range x.listeners {
		_ = listener.Close()
	}
	for l := range x.lines {
		x.hangUpLocked(l)
	}
	x.mu.Unlock()
	x.running.Wait()
}

// errNotIsolatable says that a cluster has no exchange.
var errNotIsolatable = errors.New("redistest: ClusterConfig.Isolatable is not set")

// Isolate cuts a node off from all others, until Rejoin: what they say to each
// other over the cluster bus is lost, without an error. Clients reach it, and its
// replicas go on replicating.
func (c *Cluster) Isolate(node *Server) error { return c.setCut(node, true) }

// Rejoin ends Isolate.
func (c *Cluster) Rejoin(node *Server) error { return c.setCut(node, false) }

func (c *Cluster) setCut(node *Server, off bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, known := c.sources[node]
	switch {
	case c.exchange == nil:
		return errNotIsolatable
	case !known:
		return errForeign(node)
	}
	c.exchange.set(addr, off)
	return nil
}
