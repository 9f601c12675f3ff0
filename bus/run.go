package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

const (
	defaultShutdownTimeout = 25 * time.Second
	openTimeout            = 30 * time.Second
)

// life is how a bus ends.
type life struct {
	fatal chan struct{} // closed with the first fatal error, which is in Bus.mu
	done  chan struct{} // closed when nothing of the bus runs any more
	// owned is the transport that Config.Open made; nil if the bus made none.
	owned transport.Transport
	ended bool  // end was called, under endMu
	close error // what closing owned returned; to be read after done
}

// Run serves until ctx ends, and shuts the bus down then: handlers finish within
// Config.ShutdownTimeout. It starts a bus that is held. Use it in main, or in an errgroup.
//
// It returns nil after a clean end, and otherwise what went wrong: the error of Start, with that of
// the Shutdown that follows; that of Shutdown; or a fatal one, for which it shuts the bus down by
// itself: a subscription with [Fatal] was stopped for its panics, or the transport or the log was
// closed. When Shutdown or Close is called meanwhile, Run returns [Bus.Err] once the bus has ended. On a handler's goroutine it returns ErrWouldDeadlock.
func (b *Bus) Run(ctx context.Context) error {
	if ctx == nil {
		return &Error{Op: "run", Err: ErrNilContext}
	}
	if b.runnerHere() != nil {
		return &Error{Op: "run", Err: ErrWouldDeadlock, Detail: "call it from main, not from a handler"}
	}
	err := b.Start(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		err = nil // told to end before it had begun
	case err != nil:
	default:
		select {
		case <-ctx.Done():
		case <-b.life.fatal:
		case <-b.life.done:
			return b.Err()
		}
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.cfg.ShutdownTimeout)
	defer cancel()
	shutErr := b.Shutdown(within)
	if err == nil {
		err = b.fatalErr()
	}
	return errors.Join(err, shutErr)
}

// Done is closed when the bus has ended and nothing of it runs any more: no handler, no actor's
// Stop, no transport.
func (b *Bus) Done() <-chan struct{} { return b.life.done }

// Err is why the bus ends, or has ended, by itself: the fatal error that Run returns, or what
// closing the transport of Config.Open returned. It is nil before, and after a Shutdown or Close
// without such an error.
func (b *Bus) Err() error {
	err := b.fatalErr()
	select {
	case <-b.life.done:
		return errors.Join(err, b.life.close)
	default:
		return err
	}
}

func (b *Bus) fatalErr() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.fatal
}

// fail has Run end the bus. The first error counts.
func (b *Bus) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.fatal == nil {
		b.mu.fatal = err
		close(b.life.fatal)
	}
}

// openTransport calls Config.Open.
func (b *Bus) openTransport() (t transport.Transport, err error) {
	ctx, cancel := context.WithTimeout(b.work, openTimeout)
	defer cancel()
	err = usercode.Call("Config.Open", func() error {
		t, err = b.cfg.Open(ctx)
		return err
	})
	if err == nil && t == nil {
		err = errors.New("Config.Open returned no transport")
	}
	return t, err
}

// closeOwned closes the transport that Config.Open made.
func (b *Bus) closeOwned() error {
	c, ok := b.life.owned.(interface{ Close() error })
	if !ok {
		return nil
	}
	return usercode.Call("the transport's Close", c.Close)
}

// endLife closes done once all these have ended and all work of the bus is over. end calls it, under
// endMu.
func (b *Bus) endLife(subs []*Subscription) {
	if b.life.ended {
		return
	}
	b.life.ended = true
	go func() { // it ends when what it waits for does, as Shutdown and Close say of what they leave behind
		for _, s := range subs {
			<-s.Done()
		}
		_ = b.slow.End(context.WithoutCancel(b.work)) // it does not end, and there is no other error
		b.working.Wait()
		if err := b.closeOwned(); err != nil {
			b.life.close = &Error{Op: "close the transport", Err: errguard.Safe(err)}
			b.log.Error("the transport did not close cleanly", zap.Error(err))
		}
		close(b.life.done)
	}()
}

// awaitDone is called when every handler and the transport's Serve have ended. It waits for Done, and
// returns what closing the bus's own transport returned: ctx bounds the wait for that alone.
func (b *Bus) awaitDone(ctx context.Context) error {
	if b.life.owned == nil {
		<-b.life.done
		return nil
	}
	select {
	case <-b.life.done:
		return b.life.close
	case <-ctx.Done():
	}
	select {
	case <-b.life.done:
		return b.life.close
	default:
		return fmt.Errorf("%w, and the transport has not closed", causeOf(ctx))
	}
}
