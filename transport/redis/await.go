package redis

import "context"

// await waits until a number of channels are confirmed. registry.mu guards it.
type await struct {
	topic *topicState // that waits; nil: nobody
	open  int
	done  chan struct{} // closed when open became 0, or err was set
	err   error
}

// lives is what a topic that is live has in place of an await of its own, which would be kept for as long as it.
var lives = func() *await {
	a := &await{done: make(chan struct{})}
	close(a.done)
	return a
}()

func (a *await) settleLocked() {
	if a.open--; a.open == 0 && a.err == nil {
		close(a.done)
		if a.topic != nil {
			a.topic.live = lives
		}
	}
}

func (a *await) failLocked(err error) {
	if a.err == nil && a.open > 0 {
		a.err = err
		close(a.done)
	}
}

// wait blocks until the topic is live or cannot be.
func (a *await) wait(ctx context.Context) error {
	select {
	case <-a.done:
		return a.err // which is set before done is closed, and never after
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
