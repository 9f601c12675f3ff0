package pipeline

import (
	"math"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// replyCollector is a request whose caller waits for the replies.
type replyCollector struct {
	replies []resp.Reply
	err     error
	done    chan struct{} // capacity 1
}

func (q *replyCollector) Reply(r resp.Reply) { q.replies = append(q.replies, r) }

func (q *replyCollector) Completed(err error) {
	q.err = err
	q.done <- struct{}{}
}

// Do sends n commands and returns the reply to each; or fewer, and why. The connection fails if
// nothing moves on it for timeout.
func (p *Conn) Do(commands []byte, n int, timeout time.Duration) ([]resp.Reply, error) {
	q := &replyCollector{replies: make([]resp.Reply, 0, n), done: make(chan struct{}, 1)}
	p.Acquire()
	before := len(p.Out)
	p.Out = append(p.Out, commands...)
	err := p.Enqueue(q, n, timeout, before)
	if err == nil {
		p.Flush(timeout, true)
	}
	p.ReleaseAndNotify()
	if err != nil {
		return nil, err
	}
	if !p.ReadUntil(q.done, math.MaxInt) {
		<-q.done
	}
	return q.replies, q.err
}
