// Package publisher is the publishing side of the Redis transport. It queues events by channel and
// by node, writes them as pipelines on one connection for each node and class, keeps what subscribers may ask
// for again, and publishes watermarks and the control messages of the subscribing side.
//
//	publisher, publishcall     Publish: a call and its events, from the caller's side
//	routes                     where the partitions of topics lie
//	sender, sender_close       every event that is not accepted yet; does no I/O
//	forget                     a publisher that publishes on a topic no more
//	sender_outcomes            what became of a batch
//	channelqueue, nodequeue    the queue of one publisher's channel, and of the node it is published at
//	batch                      what goes as one pipeline
//	redirect, fallbacks        where a channel is published that a node sent elsewhere, or whose primary is of no use
//	watermarks, lastwatermark  how far channels are, said now and then, and at the end
//	sendwindows, retransmit    what is remembered, and sent again to subscribers that missed it
//	writer, writer_batch       one connection of a node, and the batches in flight on it
//	writer_control             control messages beside the events
//	healthcheck                whether a node accepts events, with Standby
//	dial                       how a connection begins
package publisher

import (
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
	"go.uber.org/zap"
)

// Settings are how a Publisher works. All durations and bounds are positive. The functions may be
// called concurrently and must not block.
type Settings struct {
	Conn    *conn.Settings // how the servers are reached
	Classes connkey.Classes
	// CommandTimeout is for how long nothing may move on a connection; PublishTimeout bounds a
	// Publish.
	CommandTimeout, PublishTimeout time.Duration
	// QueueEvents and QueueBytes bound what waits at one node for one class.
	QueueEvents, QueueBytes int
	// Standby: events are published at a replica while the primary is of no use, which StandbyAfter
	// without a reply shows.
	Standby      bool
	StandbyAfter time.Duration
	// Memory bounds what each class remembers for subscribers that missed it; nil: nothing is.
	Memory *sendwindow.Limits

	// Capabilities bound events.
	Capabilities transport.Capabilities
	// Compact reports whether the events of a topic travel in the compact format.
	Compact func(topic string) bool

	// OnPublishers, if not nil, is called when there are other publishers that can be asked than
	// before; OnNewQueue when a publisher is to publish on a channel for the first time.
	OnPublishers func()
	OnNewQueue   func(publisher, channel string)
	Views        TopicViews // nil: nobody asks

	Logger *zap.Logger
}

// Cluster is what a Publisher wants of whoever watches the servers. Its methods may be called
// concurrently, and none blocks.
type Cluster interface {
	// Snapshot is the newest view, Owner the primary of a slot in it; empty if there is none.
	Snapshot() *router.Snapshot
	Owner(slot int) string
	// Suspect says that the view may be wrong, Hint that a look may be worth it.
	Suspect()
	Hint()
	// IsStandalone reports whether nobody but the server itself says who the primary is.
	// CheckServer returns then why the connection to a server is to be left, nil if it is not.
	IsStandalone() bool
	CheckServer(addr string, role conn.ServerRole) error
	// ExplainMoved adds to a MOVED of the node at addr what is wrong with it.
	ExplainMoved(err error, addr string) error
}

// TopicViews is told how the publishers of this process know topics.
type TopicViews interface {
	Publishes(env *transport.Envelope)
	Forgets(topic transport.Topic, publisher string)
	Retires(publisher string)
}
