package cluster

import (
	"context"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// poller is a server that is asked again and again, with a connection of its own, so that one that
// hangs delays no other. V is what it answers.
type poller[V any] struct {
	addr      string
	conn      rueidis.CoreClient // nil: not connected. Touched by the goroutine at work only, which busy says there is
	polling   bool
	notBefore time.Time // it is not asked before: it refused our login

	view       V
	answeredAt time.Time // zero: it has no view, or gave none when it was asked last
}

// begin reports whether the server may be asked now, and notes that it is.
func (a *poller[V]) begin(now time.Time) bool {
	if a.polling || now.Before(a.notBefore) {
		return false
	}
	a.polling = true
	return true
}

// finish takes in what asking led to; after an error whoever asked has hung up. A server that does
// not answer has no say any more.
func (a *poller[V]) finish(now time.Time, view V, err error) {
	a.polling = false
	if err == nil {
		a.view, a.answeredAt = view, now
		return
	}
	a.answeredAt = time.Time{}
	if conn.IsAuthError(err) {
		a.notBefore = now.Add(conn.RefusedDelay())
	}
}

// fresh reports whether the view counts.
func (a *poller[V]) fresh(now time.Time) bool {
	return !a.answeredAt.IsZero() && now.Sub(a.answeredAt) < viewExpiry
}

// closeConn closes the connection if there is one.
func (a *poller[V]) closeConn() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// deliverAnswer hands over what is to be done with an answer.
func deliverAnswer(ctx context.Context, answers chan<- func(), take func()) {
	select {
	case answers <- take:
	case <-ctx.Done():
	}
}
