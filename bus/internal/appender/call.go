package appender

import (
	"context"
	"sync/atomic"
	"time"
)

// call is the context of a call of the log that is made on a caller's goroutine: it ends with that
// of the queue, and with the caller's. While nobody asks for Done that takes nothing.
type call struct {
	queue, caller context.Context
	merged        atomic.Pointer[merged] // nil: nobody has asked for Done
}

// merged is a context that ends with both.
type merged struct {
	context.Context
	stop   func() bool // does not have it end with the caller's any more
	cancel context.CancelCauseFunc
}

func (c *call) Deadline() (deadline time.Time, ok bool) { return c.caller.Deadline() }

func (c *call) Done() <-chan struct{} {
	if m := c.merged.Load(); m != nil {
		return m.Done()
	}
	ctx, cancel := context.WithCancelCause(c.queue)
	m := &merged{Context: ctx, cancel: cancel}
	m.stop = context.AfterFunc(c.caller, func() { cancel(context.Cause(c.caller)) })
	if !c.merged.CompareAndSwap(nil, m) {
		m.end()
	}
	return c.merged.Load().Done()
}

func (c *call) Err() error {
	if m := c.merged.Load(); m != nil {
		return m.Err()
	}
	if err := c.queue.Err(); err != nil {
		return err
	}
	return c.caller.Err()
}

// Value is that of the queue's context: the log learns nothing else of the caller.
func (c *call) Value(key any) any {
	if m := c.merged.Load(); m != nil {
		return m.Value(key)
	}
	return c.queue.Value(key)
}

// release lets go of what waits for the end: the call has returned. The context has ended then.
func (c *call) release() {
	if c == nil {
		return
	}
	if m := c.merged.Swap(returned); m != nil {
		m.end()
	}
}

func (m *merged) end() {
	m.stop()
	m.cancel(nil)
}

// returned is the context of a call that has returned.
var returned = &merged{Context: endedContext{}, stop: func() bool { return false }, cancel: func(error) {}}

// endedContext is a context that has ended.
type endedContext struct{}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (endedContext) Deadline() (deadline time.Time, ok bool) { return time.Time{}, false }

func (endedContext) Done() <-chan struct{} { return closedChannel }

func (endedContext) Err() error { return context.Canceled }

func (endedContext) Value(any) any { return nil }
