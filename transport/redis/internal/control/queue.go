package control

import (
	"errors"
	"sync"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Bounds of one queue. What does not fit is asked for, or asked, again.
const (
	maxMessages   = 4096
	maxBytes      = 16 << 20
	batchMessages = 256     // of one pipeline
	batchBytes    = 1 << 20 // of one pipeline, and one message more
)

// ErrNotSent is why a message was not sent.
var ErrNotSent = errors.New("redis: the connection ended before it was sent")

// Queue is what waits to be sent on the publisher's connection of one node and class, beside the
// events. It outlives the connection; what waits does not.
type Queue struct {
	mu sync.Mutex
	// mu guards what follows.
	up       bool // there is a connection
	messages []Message
	bytes    int

	wake chan struct{} // capacity 1: the queue is not empty any more
}

// Queues are those of all nodes and classes. They implement Sender. The zero value is empty.
type Queues struct {
	mu sync.Mutex
	// mu guards byKey.
	byKey map[connkey.Key]*Queue
}

var _ Sender = (*Queues)(nil)

// At returns the queue of a connection.
func (q *Queues) At(key connkey.Key) *Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byKey == nil {
		q.byKey = make(map[connkey.Key]*Queue)
	}
	if q.byKey[key] == nil {
		q.byKey[key] = &Queue{wake: make(chan struct{}, 1)}
	}
	return q.byKey[key]
}

// AnyUp reports whether there is any connection that counts.
func (q *Queues) AnyUp(counts func(key connkey.Key) bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, one := range q.byKey {
		if one.IsUp() && counts(key) {
			return true
		}
	}
	return false
}

// Retain forgets the queues of nodes that have no connection and are not wanted.
func (q *Queues) Retain(wanted func(addr string) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for key, one := range q.byKey {
		if !wanted(key.Addr) && !one.IsUp() {
			delete(q.byKey, key)
		}
	}
}

// IsUp reports whether there is a connection.
func (q *Queue) IsUp() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.up
}

// Send queues a message. It reports false, and m is told nothing, if there is no connection or no
// room.
func (q *Queue) Send(m Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.up || len(q.messages) >= maxMessages || len(q.messages) > 0 && q.bytes+m.size() > maxBytes {
		return false
	}
	q.messages = append(q.messages, m)
	q.bytes += m.size()
	q.signal()
	return true
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// Ready receives when there is something to take.
func (q *Queue) Ready() <-chan struct{} { return q.wake }

// Take returns what goes in the next pipeline. The caller calls Complete on each.
func (q *Queue) Take() []Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	for n < len(q.messages) && n < batchMessages && bytes < batchBytes {
		bytes += q.messages[n].size()
		n++
	}
	taken := q.messages[:n:n]
	if q.messages = q.messages[n:]; len(q.messages) == 0 {
		q.messages = nil
	} else {
		q.signal()
	}
	q.bytes -= bytes
	return taken
}

// Open lets messages in: there is a connection.
func (q *Queue) Open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.up = true
}

// Close fails what waits, and what comes until Open.
func (q *Queue) Close() {
	q.mu.Lock()
	messages := q.messages
	q.up, q.messages, q.bytes = false, nil, 0
	q.mu.Unlock()
	for _, m := range messages {
		m.Complete(resp.Reply{}, ErrNotSent)
	}
}
