package redis

import (
	"fmt"

	"github.com/redis/rueidis"
)

// link is what the publisher and the subscriber of one node do for each other. It outlives their connections.
type link struct {
	errands chan errand   // the subscriber's commands, to be sent on the publisher's connection
	doubt   chan struct{} // capacity 1: the publisher has reason to doubt the subscriber's connection
}

// errand is a command and where its outcome goes, which must not block.
type errand struct {
	build func(rueidis.Client) rueidis.Completed
	done  func(rueidis.RedisResult)
}

func newLink() *link {
	return &link{errands: make(chan errand, 1), doubt: make(chan struct{}, 1)}
}

// send hands an errand over, and reports false if the publisher is busy with another, or not there.
func (k *link) send(e errand) bool {
	select {
	case k.errands <- e:
		return true
	default:
		return false
	}
}

// raiseDoubt has the subscriber's connection probed at once.
func (k *link) raiseDoubt() {
	select {
	case k.doubt <- struct{}{}:
	default:
	}
}

// runErrand sends an errand's command under a deadline. An error says that the connection is of no use any more.
func (w *writer) runErrand(e errand) error {
	w.commands = append(w.commands[:0], e.build(w.client))
	reply := w.doAside()[0]
	e.done(reply)
	if err := reply.Error(); judge(err) == broken {
		w.t.topology.suspect()
		return fmt.Errorf("redis: publish at %s: %w", w.addr, w.t.cfg.explain(err))
	}
	return nil
}
