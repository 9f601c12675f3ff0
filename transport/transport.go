// Package transport is the contract between a bus and what carries its events to other processes.
//
// A [Transport] serves one bus. The bus runs Serve under its supervisor for as long as it lives,
// publishes encoded events as [Envelope] values, and subscribes to topics. The transport delivers
// what arrives to the bus's [Sink]. transport/memory is the smallest complete implementation, and
// bustest.TestTransport checks one against every sentence here. docs/conformance.md says how to
// write another.
//
// [Log] is the contract of what keeps the events of durable topics; package logtest checks one.
package transport

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Errors that transports return, wrapped with where it happened.
var (
	// ErrClosed: the transport has ended, or its Serve is not running and will not run again.
	ErrClosed = errors.New("transport: closed")
	// ErrInUse: the transport serves another bus already.
	ErrInUse = errors.New("transport: serves another bus already")
	// ErrTooLarge: the envelope is larger than the transport carries.
	ErrTooLarge = errors.New("transport: envelope too large")
	// ErrInvalidTopic: there is no such topic or partition. [Topic] says what is valid.
	ErrInvalidTopic = errors.New("transport: invalid topic")
	// ErrMalformed: a message that arrived is no event. See [Envelope.Malformed].
	ErrMalformed = errors.New("transport: malformed message")
)

// Transport carries envelopes between buses. All methods are safe for concurrent use. A context
// that has ended fails a call with its cause, so that errors.Is(err, context.Cause(ctx)).
//
// A transport that holds something that outlives Serve has a method Close() error. It ends the
// transport for good, a running Serve included, and waits for that. Serve then returns an error
// that wraps ErrClosed, and so does every later Serve, Publish and Subscribe, at once. Closing
// again does nothing.
type Transport interface {
	// Capabilities says what this transport does. It never changes.
	Capabilities() Capabilities

	// Serve runs the transport for one bus until ctx ends. It then returns nil, once nothing of it
	// runs any more and sink is no longer called. That takes less than a bus's grace, of 5 s,
	// whatever state the broker is in. An error means that it failed; the bus's supervisor then
	// calls Serve again.
	//
	// Serve may be called again after it returned, with another sink. What was subscribed becomes
	// live again by itself; what was accepted meanwhile arrives then or is reported as a Gap. A
	// second Serve beside the first fails at once with ErrInUse and leaves the first alone.
	Serve(ctx context.Context, sink Sink) error

	// Publish sends envs to the broker, in order, and returns when each was accepted or has failed:
	// results[i] says what became of envs[i], and one that fails does not keep others from being
	// accepted. What one caller publishes on a topic and partition, in one call or in one after
	// another, gets its numbers and arrives in that order.
	//
	// The slices have equal length and belong to the caller again afterwards. The envelopes, with
	// all they point to, belong to the transport from the call on. A context that ends first fails
	// what was not yet accepted; such an envelope may still arrive.
	//
	// While no Serve runs a Publish may succeed, wait for Serve as long as its context lasts, or
	// fail with ErrClosed.
	Publish(ctx context.Context, envs []*Envelope, results []Result)

	// Subscribe makes the events of all the topic's partitions arrive at the sink, those that this
	// transport publishes included. It returns when it is live: everything accepted from then on
	// arrives once or is reported in one Gap, if its publisher was heard of and lives, as this
	// transport's own are. It waits for a Serve that is not running yet. An error leaves the topic
	// unsubscribed. Subscribing to a subscribed topic does nothing; with another number of
	// partitions it is an error.
	Subscribe(ctx context.Context, topic Topic) error

	// Unsubscribe ends a subscription: when it returns, with an error too, no event and no Gap of
	// the topic arrives any more. Other topics are not touched. It needs no Serve. Unsubscribing
	// from a topic that is not subscribed does nothing.
	Unsubscribe(ctx context.Context, topic Topic) error
}

// Claimer is a transport that can tell when a second bus is put on it by mistake: bus.New claims
// it, and the end of the bus releases it. A transport that is no Claimer must have Serve fail for
// the second bus.
type Claimer interface {
	// Claim takes the transport, or returns an error that wraps ErrInUse.
	Claim() error
	// Release gives it back, after Serve returned. Its subscriptions are forgotten, and the next
	// bus may claim it.
	Release()
}

// Forgetter is a transport that can forget what it keeps of a topic on which a bus publishes no more.
// To one that is none, a topic's numbers stay until the transport's end, and a topic that is made
// again goes on with them.
type Forgetter interface {
	// Forget drops what the transport keeps of a publisher of its own on all the topic's
	// partitions: its numbers, and what could be sent again. The publisher, whose last Publish there
	// has returned, never publishes on that topic again. What subscribers have not got of its events
	// they still get, or are told of in a Gap. Other publishers and topics are not touched, and no
	// subscription is. The topic's Mismatch of that publisher is forgotten, too.
	//
	// An error means that it is not forgotten; Forget may then be called again. Of a publisher or a
	// topic that is not known there is nothing to forget.
	Forget(ctx context.Context, topic Topic, publisher string) error
}

// Sink is the bus as a transport sees it. Its methods never block, do not call the transport, and
// run no code of the bus's user but its logger's. They may be called from any goroutine. So a
// transport may hold locks of its own meanwhile. The user's callbacks for an event or a Gap run on
// goroutines of the bus, and may call the transport.
//
// The transport calls Deliver in the order of each publisher's sequence on a topic and partition.
// It reports each number once, by Deliver or by Gap, but perhaps by neither if the broker never
// accepted it. It calls neither after Serve has returned.
type Sink interface {
	// Deliver passes on an envelope, which nobody may change any more. A message that can't be read
	// is passed on too, as one that is [Envelope.Malformed].
	Deliver(env *Envelope)
	// Gap reports events that will not be delivered. No part of it was reported before or arrives
	// later.
	Gap(g Gap)
}

// Result is what became of one published envelope.
type Result struct {
	// Receivers is how many subscribers the broker passed it to, or -1 if the transport can't tell.
	// It is a hint: subscribers on other nodes, or yet to read a log, don't show.
	Receivers int
	// Repeated means that it was sent again, because nobody could tell whether the broker had
	// accepted it before.
	Repeated bool
	// Seq is the number with which the envelope arrives, if it was accepted; 0 if it has none, as a
	// bare payload. A bus knows by it which of its own events its subscriptions have not got yet;
	// its Shutdown waits for them.
	Seq uint64
	Err error
}

// Capabilities is what a transport can do.
type Capabilities struct {
	// Name is the transport's name in messages and trees, for example "redis".
	Name string
	// MaxPayload is the largest payload in bytes; 0 means no limit.
	MaxPayload int
	// Remembers is for how long a publisher can send again what subscribers missed. A bus waits that
	// long before it calls Forget, so that nothing is lost that could be had. 0: nothing is sent
	// again.
	Remembers time.Duration
}

// DefaultMaxPayload is the default MaxPayload of a transport to a server: 1 MiB.
const DefaultMaxPayload = 1 << 20

// CheckPayload returns an error that wraps ErrTooLarge if a payload is larger than MaxPayload.
func (c Capabilities) CheckPayload(payload []byte) error {
	if c.MaxPayload > 0 && len(payload) > c.MaxPayload {
		return fmt.Errorf("%w: the payload has %d bytes, MaxPayload is %d", ErrTooLarge, len(payload), c.MaxPayload)
	}
	return nil
}
