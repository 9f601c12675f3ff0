// Package redis carries events between processes through Redis: sharded Pub/Sub on a cluster, on
// servers that sentinels watch, or on a standalone server, version 7.0 or later.
//
// [Open] finds out what the servers are and returns a [Transport] for one bus. docs/wire.md
// describes the messages; any client that can SPUBLISH and SSUBSCRIBE can take part. [Check] says
// what is wrong with the servers; docs/redis.md says how to set them up; docs/design.md follows one
// event through the files.
//
// # What it guarantees
//
// Each event arrives at most once and in the order of its publisher and channel. A publisher
// numbers the events of each channel and remembers the last ones. A subscriber asks for what it
// missed, and later events wait until it has come ([Repair]). Consider every number that a living
// publisher assigned while the subscription was live. It is received; or its publisher says that
// its Publish returned an error; or it is reported in exactly one [transport.Gap], which is
// Uncertain if its Publish returned an error, else Lost. [Transport.Ledger] counts them. Gaps in
// docs/wire.md says what nobody can see.
//
// # How it is built
//
//	part            what it does                                                    files
//	cluster         knows which node has which slot, or which server is the primary internal/cluster
//	  redirects     the nodes that a MOVED named, until the topology says so too    internal/cluster/redirect
//	conn            dials, logs in, keeps connections logged in, explains errors    internal/conn
//	guard           checks what a server sends before rueidis sees it               internal/conn
//	shards          keeps a writer and a reader running for each primary and class  shards
//	  class         all topics that are not dedicated, or one that is               internal/connkey
//	  writer        publishes what is queued for the node, as pipelines             internal/publisher
//	    pipeline    its connection, with many pipelines in flight                   internal/pipeline, internal/resp
//	  reader        one connection for all channels of the node                     internal/subscriber
//	    probe       proves that the connection hears its node; warns of lag         internal/subscriber
//	    keepalive   asks a silent server whether it lives                           internal/subscriber
//	control         what the writer and the reader of a node do for each other      internal/control, internal/publisher
//	subscriptions   desired and actual subscriptions                                internal/subscriber, internal/subscriber/reconcile
//	  queue         Subscribe calls wait here until their channels are confirmed    internal/subscriber
//	fallbacks       with Standby: where to publish while a primary is of no use     internal/publisher, internal/fallback
//	ticker          asks for missing events, and gives up after the time-out        internal/subscriber
//	repair          asks publishers and answers subscribers                         internal/subscriber; internal/publisher retransmits
//	health          what is connected; warns of primaries that stay away            health
//
// The decisions about repair are pure: internal/sendwindow is what a publisher remembers,
// internal/track what a subscriber misses, whom it asks when and which events wait,
// internal/ratelimit how often.
//
// Queues and subscriptions outlive the children, so a child that fails loses only its connection.
// It is restarted without limit, and without touching any other child.
//
// A caller of Publish writes its events itself, together with events that others have queued, if
// nobody else is writing. It never waits for the kernel: the writer's goroutine sends what the
// kernel does not take at once. A goroutine of the connection reads the replies. A caller that is
// alone, and whose context has no end, reads them itself. Up to 16 pipelines are in flight; then
// events queue until a reply comes or 64 events wait. The goroutine also reads while nothing is in
// flight, from a moment on, so that a connection that ends is made again before it is needed. If
// writes may block (TLS, Config.Dial), only a caller whose context has no end writes, under
// CommandTimeout.
//
// rueidis has the other connections. It answers a pipeline as a whole to a caller that waits
// meanwhile, so two pipelines that must be in order cannot be in flight at once. That cost half the
// rate of batches, and doubled the time of single events.
//
// rueidis' reader handles what arrived, just before it would wait for more, if that is 32 messages
// and 16 KiB or less. Otherwise a goroutine of the session handles it, while the reader goes on.
//
// Thousands of Subscribe calls may run at once, each on a goroutine's first stack. So a call only
// joins a queue, without a lock. The goroutine that has the subscriptions' lock next takes in all
// calls of the queue. Each is woken once, when its channels are confirmed and their baselines are
// known. Baseline requests go out as soon as channels are confirmed, full ones side by side.
//
// # Locks
//
// session.mu comes first. Then subscriptions.mu, which only its lock method takes, and after it
// channel.mu. These are taken last, and alone: receiveBuffer.mu, repairTicker.mu, baselines.mu,
// nackClient.mu, the sender's locks, control.Queues.mu before control.Queue.mu, pipeline.Conn.mu.
// TopicViews.mu is taken last of all, under subscriptions.mu or the sender's locks. No lock is held
// during I/O. The pipeline's write token and read token are; they are channels. The sink is called
// under channel.mu, which keeps a channel's events in order.
//
// Of the sender's locks, sender.mu comes first, then the mu of one nodeQueue, then the mu of a
// windowMemory. What goes on at one node takes only that node's. A Publish holds sender.mu for
// reading and one node's lock at a time. Whatever moves queues from node to node (a new topology, a
// MOVED, a fallback), makes them or ends them takes sender.mu and the locks of all nodes, by
// lockAll.
package redis
