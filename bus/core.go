package bus

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
	"github.com/shardbus/shardbus/bus/internal/slowwatch"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/internal/signal"
)

// core is what topics, subscriptions and lanes need of their bus: values, and one interface for what
// is rare. It is a part of the Bus, and names nothing above it.
type core struct {
	id         string // this incarnation
	log        *zap.Logger
	remote     bool            // events go through a transport
	debug      bool            // Config.Debug
	maxStarts  int             // Config.MaxStarts
	inboxBytes int             // Config.InboxBytes
	grace      time.Duration   // Config.Grace
	watcher    inspect.Watcher // bustest's; nil without one

	state    atomic.Uint32
	draining chan struct{} // closed when stateOpen ends
	closed   chan struct{} // closed when stateClosed begins
	// transportGone says that the transport was closed: nothing comes off it any more.
	transportGone atomic.Bool
	changes       signal.Broadcast // something became idle or ended
	runQueue      runqueue.Queue
	slow          *slowwatch.Watch // nil where Config.SlowHandler is off
	goroutines    goroutines
}

// States of a bus.
const (
	stateOpen     uint32 = iota
	stateDraining        // takes events of its own handlers only
	stateClosed
	stateHeld // takes topics and subscriptions, and no events: Start opens it
)

// takesTopics reports whether new topics and subscriptions are taken.
func (c *core) takesTopics() bool {
	s := c.state.Load()
	return s == stateOpen || s == stateHeld
}

// goroutines is the goroutines that a bus waits for when it ends.
type goroutines interface {
	// goTracked runs f, which ends by itself, unless the bus has ended.
	goTracked(what string, f func()) bool
	// goTell runs f, which tells of gaps, unless the transport has ended.
	goTell(f func()) bool
	// cleanup runs f, which ends with its context.
	cleanup(f func(ctx context.Context) error)
}
