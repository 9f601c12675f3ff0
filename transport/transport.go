// Package transport is the contract between a bus and what carries its events
// to other processes.
//
// A [Transport] serves one bus. The bus runs Serve under its supervisor for as
// long as it lives, publishes encoded events as [Envelope] values, and names the
// topics it wants; the transport hands what arrives to the bus's [Sink].
// transport/memory is the smallest complete implementation.
package transport

import (
	"context"
	"errors"
)

// Errors that transports return, wrapped with where it happened.
var (
	// ErrClosed: the transport has ended or its Serve is not running and will
	// not run again.
	ErrClosed = errors.New("transport: closed")
	// ErrInUse: the transport serves another bus already.
	ErrInUse = errors.New("transport: serves another bus already")
	// ErrTooLarge: the envelope is larger than the transport carries.
	ErrTooLarge = errors.New("transport: envelope too large")
)

// Transport carries envelopes between buses. All methods are safe for
// concurrent use.
type Transport interface {
	// Capabilities says what this transport does. It never changes.
	Capabilities() Capabilities

	// Serve runs the transport for one bus until ctx ends, and then returns
	// nil once nothing of it runs any more and sink is no longer called. An
	// error means that it failed; the bus's supervisor then calls Serve again,
	// and what was subscribed must become live again by itself.
	Serve(ctx context.Context, sink Sink) error

	// Publish hands envs to the broker, in order, and returns when each was
	// accepted or has failed: results[i] says what became of envs[i]. The
	// slices have equal length and belong to the caller again afterwards; the
	// envelopes belong to the transport from the call on. A context that ends
	// first fails what was not yet accepted with the context's error; such an
	// envelope may still arrive.
	Publish(ctx context.Context, envs []*Envelope, results []Result)

	// Subscribe makes the topic's events arrive at the sink, and returns when
	// it is live: everything accepted from then on arrives or is reported as a
	// Gap. It waits for a Serve that is not running yet. An error leaves the
	// topic unsubscribed. Subscribing to a subscribed topic does nothing.
	Subscribe(ctx context.Context, topic Topic) error

	// Unsubscribe ends it: when it returns, no event of the topic arrives any
	// more.
	Unsubscribe(ctx context.Context, topic Topic) error
}

// Claimer is a transport that can tell when a second bus is put on it by mistake:
// bus.New claims it, and the end of the bus releases it. A transport that is no
// Claimer must have Serve fail for the second bus.
type Claimer interface {
	// Claim takes the transport, or returns an error that wraps ErrInUse.
	Claim() error
	// Release gives it back, after Serve returned.
	Release()
}

// Sink is the bus as a transport sees it. Its methods never block and may be
// called from any goroutine; the transport calls Deliver in the order of each
// publisher's sequence on a channel.
type Sink interface {
	// Deliver hands over an envelope, which nobody may change any more.
	Deliver(env *Envelope)
	// Gap reports events that will not be delivered.
	Gap(g Gap)
}

// Topic is what a transport needs to know of a topic.
type Topic struct {
	Name       string
	Partitions int // 0: unpartitioned
}

// Result is what became of one published envelope.
type Result struct {
	// Receivers is how many subscribers the broker handed it to, or -1 where
	// the transport can't tell. It is a hint: subscribers on other nodes or
	// yet to read a log don't show.
	Receivers int
	// Repeated says that it was sent again, because nobody could tell whether
	// the broker had accepted it before.
	Repeated bool
	Err      error
}

// Capabilities is what a transport can do.
type Capabilities struct {
	// Name is the transport's name in messages and trees, for example "redis".
	Name string
	// MaxPayload is the largest payload in bytes; 0 means no limit.
	MaxPayload int
}
