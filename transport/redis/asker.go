package redis

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

// asker is a server that is asked again and again, with a connection of its own, so that one that hangs delays no
// other. V is what it answers.
type asker[V any] struct {
	addr string
	conn rueidis.CoreClient // nil: not connected. Touched by the goroutine at work only, which busy says there is
	busy bool
	rest time.Time // it is not asked before: it refused our login

	view  V
	heard time.Time // zero: it has no view, or gave none when it was asked last
}

// begin reports whether the server may be asked now, and notes that it is.
func (a *asker[V]) begin(now time.Time) bool {
	if a.busy || now.Before(a.rest) {
		return false
	}
	a.busy = true
	return true
}

// done takes in what asking led to; after an error whoever asked has hung up. A server that does not answer has no say any more.
func (a *asker[V]) done(now time.Time, view V, err error) {
	a.busy = false
	if err == nil {
		a.view, a.heard = view, now
		return
	}
	a.heard = time.Time{}
	if isRefusal(err) {
		a.rest = now.Add(coolDown())
	}
}

// fresh reports whether the view counts.
func (a *asker[V]) fresh(now time.Time) bool {
	return !a.heard.IsZero() && now.Sub(a.heard) < viewExpires
}

// hangUp closes the connection if there is one.
func (a *asker[V]) hangUp() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// answer hands over what is to be done with an answer.
func answer(ctx context.Context, answers chan<- func(), take func()) {
	select {
	case answers <- take:
	case <-ctx.Done():
	}
}

// coolDown is how long a server is left alone that refused who we are: trying again at once would not help, and
// would fill its log.
func coolDown() time.Duration { return retryRefused + rand.N(retryRefused/4) }
