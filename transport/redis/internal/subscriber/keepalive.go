package subscriber

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

const (
	// keepaliveIdle is how long nothing may arrive before the server is asked whether it lives.
	keepaliveIdle = 300 * time.Millisecond
	// subscribeTimeout bounds a command of a subscriber's connection whose server goes on sending other things: its answer
	// comes behind them. A server that is silent is noticed much sooner.
	subscribeTimeout = 30 * time.Second
)

// keepalive decides when a connection counts as dead because nothing arrives, though the server was asked. It is pure. It
// counts looks as heartbeat does, and for the same reason. The pings of rueidis would not do: they are sent also while events
// arrive, and count as unanswered when their answer comes behind a second's worth of those.
type keepalive struct {
	timeout time.Duration
	reads   uint64 // at the last look
	asked   bool   // and nothing has arrived since
	quiet   int    // looks since
}

// look returns whether to ask the server, whether it is dead, and when to look again.
func (s *keepalive) look(reads uint64) (ask, dead bool, wait time.Duration) {
	if reads != s.reads {
		s.reads, s.asked, s.quiet = reads, false, 0
		return false, false, keepaliveIdle
	}
	if !s.asked {
		s.asked, s.quiet = true, 0
		return true, false, s.timeout / maxMissedLooks
	}
	s.quiet++
	return false, s.quiet >= maxMissedLooks, s.timeout / maxMissedLooks
}

// watchKeepalive closes the socket when the server is silent, and returns why; or nil when ctx ends.
func watchKeepalive(ctx context.Context, s *conn.Socket, conn rueidis.DedicatedClient, timeout time.Duration) error {
	state := keepalive{timeout: timeout}
	answered := make(chan struct{}, 1)
	answered <- struct{}{} // none is on its way
	defer func() { <-answered }()
	timer := time.NewTimer(keepaliveIdle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		ask, dead, wait := state.look(s.ReadCount.Load())
		if dead {
			err := fmt.Errorf("nothing arrived for %v, nor an answer to a ping", timeout)
			_ = s.Close() // also ends what waits for an answer
			return err
		}
		if ask {
			select {
			case <-answered:
				go func() { // its answer is seen as one of the reads
					conn.Do(ctx, conn.B().Ping().Build())
					answered <- struct{}{}
				}()
			default: // the last one was not answered yet: what arrived since came before its answer
			}
		}
		timer.Reset(wait)
	}
}
