package transporttest

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// peer is a transport as a bus has it.
type peer struct {
	transport.Transport
	c        *check
	recorder *recorder // of the Serve that runs, or ran last

	cancel context.CancelFunc
	served chan error // how Serve returned
}

// connect makes a transport that is not served yet.
func (c *check) connect() *peer {
	c.Helper()
	p := &peer{Transport: c.broker.Connect(c.TB), c: c, recorder: newRecorder()}
	c.Cleanup(func() {
		p.halt()
		if closer, ok := p.Transport.(io.Closer); ok {
			if err := closer.Close(); err != nil {
				c.Errorf("Close: %v", err)
			}
		}
	})
	return p
}

// join makes a transport that is served and subscribed.
func (c *check) join(topics ...transport.Topic) *peer {
	c.Helper()
	p := c.connect()
	p.start()
	p.subscribe(topics...)
	return p
}

// start begins a Serve, with a new recorder.
func (p *peer) start() {
	ctx, cancel := context.WithCancel(p.c.base)
	recorder, served := newRecorder(), make(chan error, 1)
	recorder.slow = p.recorder.slow
	p.recorder, p.cancel, p.served = recorder, cancel, served
	go func() { // ends with Serve, which halt waits for
		err := p.Serve(ctx, recorder)
		recorder.end()
		served <- err
	}()
}

// stop ends the Serve and fails the case if that takes longer than a bus waits.
func (p *peer) stop() {
	p.c.Helper()
	p.cancel()
	p.ended(func(err error) {
		if err != nil {
			p.c.wrong("Serve returns nil when its context ends", "%s", show(err))
		}
	})
}

// ended waits for the Serve to return and has look check its error.
func (p *peer) ended(look func(error)) {
	p.c.Helper()
	served := p.served
	p.served = nil
	p.c.inTime(grace, "Serve", func() { look(<-served) })
}

// halt ends a Serve that may run. Whoever never returns is a case's of its own.
func (p *peer) halt() {
	if p.served == nil {
		return
	}
	p.cancel()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.served:
	case <-timer.C:
	}
	p.served = nil
}

// subscribe fails the case when it fails.
func (p *peer) subscribe(topics ...transport.Topic) {
	p.c.Helper()
	ctx, cancel := p.c.context()
	defer cancel()
	for _, topic := range topics {
		if err := p.Subscribe(ctx, topic); err != nil {
			p.c.fatal("Subscribe succeeds", "%s", show(err))
		}
	}
}

// unsubscribe fails the case when it fails.
func (p *peer) unsubscribe(topic transport.Topic) {
	p.c.Helper()
	ctx, cancel := p.c.context()
	defer cancel()
	if err := p.Unsubscribe(ctx, topic); err != nil {
		p.c.fatal("Unsubscribe succeeds", "%s", show(err))
	}
}

// try publishes and returns what became of each event.
func (p *peer) try(ctx context.Context, envs ...*transport.Envelope) []transport.Result {
	results := make([]transport.Result, len(envs))
	p.Publish(ctx, envs, results)
	return results
}

// publish publishes and fails the case when an event is not accepted.
func (p *peer) publish(envs ...*transport.Envelope) []transport.Result {
	p.c.Helper()
	ctx, cancel := p.c.context()
	defer cancel()
	ids := make([]string, len(envs))
	for i, env := range envs {
		ids[i] = env.ID
	}
	results := p.try(ctx, envs...)
	for i, r := range results {
		if r.Err != nil {
			p.c.fatal("Publish succeeds", "%s for %s", show(r.Err), ids[i])
		}
	}
	return results
}

// chunk is how many events the suite publishes in a call when it has many.
const chunk = 100

// publishAll publishes many events, in order.
func (p *peer) publishAll(envs []*transport.Envelope) {
	p.c.Helper()
	for len(envs) > 0 {
		n := min(chunk, len(envs))
		p.publish(envs[:n:n]...)
		envs = envs[n:]
	}
}

func plural(n int) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}

// background runs functions beside the case until stop, which waits for them.
type background struct {
	running sync.WaitGroup
	over    chan struct{}
	once    sync.Once
}

func (c *check) background() *background {
	w := &background{over: make(chan struct{})}
	c.Cleanup(w.stop)
	return w
}

// repeat calls f again and again, with a pause between.
func (w *background) repeat(c *check, f func()) {
	w.running.Go(func() {
		for {
			select {
			case <-w.over:
				return
			default:
				f()
				c.pause()
			}
		}
	})
}

func (w *background) stop() {
	w.once.Do(func() { close(w.over) })
	w.running.Wait()
}
