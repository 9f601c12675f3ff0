package redis

import (
	"context"
	"errors"
	"sync"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// letter is a control document on its way, or a command.
type controlMessage struct {
	channel string
	doc     []byte
	command []byte // in place of the two
	// sent, if not nil, is told how many listened at the node, or why it was not sent; answered what a command led to. They
	// must not block.
	sent     func(listeners int, err error)
	answered func(reply resp.Reply, err error)
}

// Bounds of what waits for one courier. What does not fit is asked for, or asked, again.
const (
	maxControlMessages = 4096
	maxControlBytes    = 16 << 20
	controlBatch       = 256 // letters of one pipeline
)

// errNoCourier is why a letter was not sent.
var errNotSent = errors.New("redis: the connection ended before it was sent")

// courier sends letters on the connection of one primary's publisher, beside the events. It outlives the connection;
// what waits does not.
type controlSender struct {
	mu sync.Mutex
	// mu guards what follows.
	up    bool // there is a connection
	queue []controlMessage
	bytes int

	wake chan struct{} // capacity 1: the queue is not empty any more
}

// couriers are those of all primaries.
type controlSenders struct {
	mu sync.Mutex
	// mu guards byAddr.
	byAddr map[string]*controlSender
}

// at returns the courier of a primary.
func (c *controlSenders) at(addr string) *controlSender {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byAddr == nil {
		c.byAddr = make(map[string]*controlSender)
	}
	if c.byAddr[addr] == nil {
		c.byAddr[addr] = &controlSender{wake: make(chan struct{}, 1)}
	}
	return c.byAddr[addr]
}

// anyUp reports whether anything can be sent to any node that counts.
func (c *controlSenders) anyUp(counts func(addr string) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, one := range c.byAddr {
		if one.isUp() && counts(addr) {
			return true
		}
	}
	return false
}

// keep forgets the couriers that have no connection and are not wanted.
func (c *controlSenders) retain(wanted func(addr string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr, one := range c.byAddr {
		if !wanted(addr) && !one.isUp() {
			delete(c.byAddr, addr)
		}
	}
}

func (c *controlSender) isUp() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// put queues a letter, and reports false if there is no connection or no room.
func (c *controlSender) send(l controlMessage) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.up || len(c.queue) >= maxControlMessages || len(c.queue) > 0 && c.bytes+l.size() > maxControlBytes {
		return false
	}
	c.queue = append(c.queue, l)
	c.bytes += l.size()
	c.signal()
	return true
}

func (c *controlSender) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take returns what is sent next.
func (c *controlSender) take() []controlMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, bytes := 0, 0
	for n < len(c.queue) && n < controlBatch && bytes < batchBytes {
		bytes += c.queue[n].size()
		n++
	}
	taken := c.queue[:n:n]
	if c.queue = c.queue[n:]; len(c.queue) == 0 {
		c.queue = nil
	} else {
		c.signal()
	}
	c.bytes -= bytes
	return taken
}

// open lets letters in.
func (c *controlSender) open() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up = true
}

// shut fails what waits.
func (c *controlSender) close() {
	c.mu.Lock()
	queue := c.queue
	c.up, c.queue, c.bytes = false, nil, 0
	c.mu.Unlock()
	for _, l := range queue {
		l.complete(resp.Reply{}, errNotSent)
	}
}

func (l *controlMessage) size() int { return len(l.doc) + len(l.command) }

func (l *controlMessage) complete(reply resp.Reply, err error) {
	switch {
	case l.answered != nil:
		l.answered(reply, err)
	case l.sent != nil:
		l.sent(int(reply.N), err)
	}
}

// serveLetters sends the letters for a primary on the connection of w until ctx ends or the connection fails.
func (w *writer) serveControl(ctx context.Context, c *controlSender) error {
	c.open()
	defer c.close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.wake:
		}
		messages := c.take()
		if len(messages) == 0 {
			continue
		}
		var commands []byte
		for _, l := range messages {
			if l.command != nil {
				commands = append(commands, l.command...)
			} else {
				commands = resp.AppendPublish(commands, l.channel, l.doc)
			}
		}
		replies, lost := w.do(commands, len(messages))
		for i, l := range messages {
			if i < len(replies) {
				l.complete(replies[i], replies[i].Err())
			} else {
				l.complete(resp.Reply{}, lost)
			}
		}
		if lost != nil {
			return lost
		}
	}
}
