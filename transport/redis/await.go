package redis

import "context"

// await waits until a number of channels are confirmed. registry.mu guards it.
type await struct {
	open int
	done chan struct{} // closed when open became 0, or err was set
	err  error
}

func (a *await) settleLocked() {
	if a.open--; a.open == 0 && a.err == nil {
		close(a.done)
	}
}

func (a *await) failLocked(err error) {
	if a.err == nil && a.open > 0 {
		a.err = err
		close(a.done)
	}
}

// wait blocks until the topic is live or cannot be.
func (a *await) wait(ctx context.Context, r *registry) error {
	select {
	case <-a.done:
		r.mu.Lock()
		defer r.mu.Unlock()
		return a.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
