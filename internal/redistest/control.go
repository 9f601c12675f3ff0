package redistest

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	// controlEvery is how often a control takes a step.
	controlEvery = 5 * time.Millisecond
	// controlSlack is how late a step may be before the control stands still. An idle machine is never so late, so that
	// every silence counts in full there; on a busy one each step has so much that counts.
	controlSlack = 50 * time.Millisecond
)

// A Control tells a machine that stood still from a system under test that did. It runs in the test's process: a ticker,
// and a publisher and a subscriber at a server to which nothing is done. Its stalls are what the ticker was late by, and
// what a publication took until it was received, each beyond 50 ms. A silence of the system under test is judged by
// [Control.Own], which leaves out the stalls of the control. The bound of the test stays what it is.
//
// Work in the test's process that takes all processors stops the control too: speed is what benchmarks judge.
//
// Its methods may be called concurrently.
type Control struct {
	echo *echo
	stop context.CancelFunc
	work sync.WaitGroup

	mu sync.Mutex
	// mu guards what follows.
	stalls []Stall
	due    map[string]time.Time // by what takes a step: since when it is due
	err    error                // why the control ended early
}

// NewControl starts a server and a control, which end with the test. The control's own failure fails the test.
func NewControl(t testing.TB) *Control {
	t.Helper()
	c, err := startControl(Standalone(t, Config{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Errorf("the control: %v", err)
		}
	})
	return c
}

func startControl(s *Server) (*Control, error) {
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	e, err := newEcho(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &Control{echo: e, due: make(map[string]time.Time)}
	running, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.work.Go(func() { c.tick(running) })
	c.work.Go(func() { c.listen(running) })
	return c, nil
}

// close ends the control and returns why it had ended before.
func (c *Control) close() error {
	c.stop()
	c.work.Wait()
	c.echo.close()
	return c.err
}

// tick takes down how late a ticker is.
func (c *Control) tick(ctx context.Context) {
	for {
		due := time.Now().Add(controlEvery)
		c.begin("tick", due)
		select {
		case <-ctx.Done():
			return
		case <-time.After(controlEvery):
		}
		c.done("tick")
	}
}

// listen takes down how long what is published takes to arrive.
func (c *Control) listen(ctx context.Context) {
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(controlEvery):
		}
		c.begin("echo", time.Now())
		err := c.echo.round(ctx, fmt.Sprint(n))
		if ctx.Err() != nil {
			return
		}
		c.done("echo")
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

// begin notes that a step is due, or will be.
func (c *Control) begin(what string, due time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.due[what] = due
}

// done notes that the step that was due is done.
func (c *Control) done(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := stallOf(c.due[what], time.Now(), controlSlack); ok {
		c.stalls = append(c.stalls, s)
	}
	delete(c.due, what)
}

// Stalls returns when the control stood still, a stall that goes on included. Two may overlap.
func (c *Control) Stalls() []Stall {
	c.mu.Lock()
	defer c.mu.Unlock()
	all, now := slices.Clone(c.stalls), time.Now()
	for _, due := range c.due {
		if s, ok := stallOf(due, now, controlSlack); ok {
			all = append(all, s)
		}
	}
	return all
}

// Own returns how much of a stretch of time counts: all but the control's stalls, see [OwnTime].
func (c *Control) Own(from, to time.Time) time.Duration { return OwnTime(from, to, c.Stalls()) }

// WithTimeout returns a context that ends with parent, or with [context.DeadlineExceeded] as its cause when the time that
// counts since now is more than d. It has no deadline of its own.
func (c *Control) WithTimeout(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	var watcher sync.WaitGroup
	begin := time.Now()
	watcher.Go(func() {
		for left := d; left > 0; left = d - c.Own(begin, time.Now()) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(left):
			}
		}
		cancel(fmt.Errorf("%v have passed, stalls of the machine not counted: %w", d, context.DeadlineExceeded))
	})
	return ctx, func() {
		cancel(context.Canceled)
		watcher.Wait()
	}
}

// echo publishes on one connection what it receives on another.
type echo struct {
	pub, sub *conn
}

// echoChannel is the channel of a control.
const echoChannel = "control"

func newEcho(ctx context.Context, s *Server) (*echo, error) {
	pub, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	sub, err := s.dial(ctx)
	if err != nil {
		pub.close()
		return nil, err
	}
	e := &echo{pub: pub, sub: sub}
	if _, err := sub.do(ctx, "SSUBSCRIBE", echoChannel); err != nil {
		e.close()
		return nil, fmt.Errorf("redistest: control: %w", err)
	}
	for _, c := range []*conn{pub, sub} {
		if err := c.net.SetDeadline(time.Time{}); err != nil {
			e.close()
			return nil, fmt.Errorf("redistest: control: %w", err)
		}
	}
	return e, nil
}

func (e *echo) close() {
	e.pub.close()
	e.sub.close()
}

// round returns when what it published has been received. However long that takes is the machine's doing: only an end of
// ctx, or of a connection, is an error.
func (e *echo) round(ctx context.Context, text string) error {
	end := context.AfterFunc(ctx, func() {
		for _, c := range []*conn{e.pub, e.sub} {
			_ = c.net.SetDeadline(time.Unix(1, 0))
		}
	})
	defer end()
	if _, err := e.pub.net.Write(appendCommand(nil, []string{"SPUBLISH", echoChannel, text})); err != nil {
		return fmt.Errorf("redistest: control: %w", err)
	}
	for _, r := range []*bufio.Reader{e.pub.r, e.sub.r} {
		reply, err := readReply(r)
		if err != nil {
			return fmt.Errorf("redistest: control: %w", err)
		}
		switch got := reply.(type) {
		case int64:
			if got == 1 {
				continue
			}
		case []any:
			if len(got) == 3 && got[2] == text {
				continue
			}
		}
		return fmt.Errorf("redistest: control: %v instead of an echo of %s", reply, text)
	}
	return nil
}
