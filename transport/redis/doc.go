// Package redis carries events between processes through Redis: sharded Pub/Sub on a cluster, on servers that sentinels
// watch, or on a standalone server, version 7.0 or later.
//
// [Open] finds out what the servers are and returns a [Transport] for one bus. What travels is described in
// docs/wire.md; any client that can SPUBLISH and SSUBSCRIBE can take part. [Check] tells what is wrong with the servers;
// docs/redis.md says how to set them up.
//
// # What it guarantees
//
// Each event arrives at most once and in the order of its publisher and channel. A publisher numbers the events of
// each channel and remembers the last; a subscriber asks for what it missed, and what follows waits until it has come
// ([Repair]). Every number that a living publisher assigned while the subscription was live, and that it did not get all
// the same, is void by its publisher's word, because its Publish returned an error, or reported in exactly one
// [transport.Gap]: Uncertain if its Publish returned an error, else Lost. [Transport.Ledger] counts them.
// See Gaps in docs/wire.md for what nobody can see.
//
// # How it is built
//
//	topology    asks the nodes who owns which slot, and keeps the newest answer of all        (internal/cluster)
//	            or the sentinels who the primary is                                           (internal/cluster)
//	            or standalone servers which of them is the primary                            (internal/cluster)
//	reauther    keeps the open connections logged in                                          (internal/conn)
//	health      knows what is connected, and warns of primaries that stay away                 (health)
//	shards      keeps two children running for each primary                                   (shards)
//	  writer    publishes what is queued for the node, as pipelines                           (internal/publisher)
//	    pipeline  its connection, on which many pipelines are in flight                       (internal/pipeline)
//	  reader    one connection for all channels of the shard                                  (reader, receive_buffer, session)
//	    probe   proves that the connection hears its node, and warns when it is behind        (heartbeat, probe, lag_warning)
//	    keepalive asks a server that says nothing whether it lives                             (keepalive)
//	  peer      what the writer and the reader of a node do for each other                    (internal/control)
//	  control   sends control messages beside the events, on the writer's connection          (internal/control)
//	guard       stands between rueidis and a server, and has said HELLO before                (internal/conn)
//	subscriptions  what shall be subscribed, and where it is                                   (subscriptions, slots, channel)
//	  queue     Subscribe calls line up for it, and wait until their channels have come       (subscribe, subscribe_queue, subscribe_call)
//	fallbacks   and where a shard's events are published while its primary is of no use         (internal/publisher, internal/fallback)
//	dedicated   topics with connections of their own: each a transport within the transport     (dedicated)
//	ticker      asks for what is missing, and gives up what has been for too long             (repair_ticker)
//	repair      asks publishers and answers subscribers, over channels of its own             (nack, nack_answer, baseline, baseline_answer, control_channels, internal/publisher)
//
// What decides about repair is pure: internal/sendwindow is what a publisher remembers, internal/track what a subscriber
// misses, whom it asks when, and what waits, internal/ratelimit how often.
//
// The publisher and the [Subscriber] outlive the children, so that a child that fails loses nothing but its connection. A failing
// child is restarted without limit and without touching any other.
//
// A caller of Publish writes its events itself, and what others have queued, if nobody else is writing: it never waits for
// the kernel, since what that does not take at once is left to the writer's goroutine. The replies are read by a goroutine
// of the pipeline's; a caller whose context has no end, and who is alone, reads them itself. Up to 16 pipelines are in flight;
// beyond that events queue up until a reply comes, or there are 64 of them. While nothing is in flight the goroutine reads all
// the same, from a moment on, so that a connection that ends is made again before it is missed. Where a connection's writes may block (TLS,
// Config.Dial) only a caller whose context has no end writes, under CommandTimeout.
//
// rueidis has the other connections. Its pipelines are answered as a whole to a caller who waits meanwhile, so two that must
// be in order cannot be under way at once: that cost half the rate of batches, and twice the time of single events.
//
// What arrives is handled by rueidis' reader, just before it would wait for more, if that is 32 messages and 16 KiB or
// less; else by a goroutine of the session's, while the reader goes on.
//
// A Subscribe is one of thousands, maybe, each on a goroutine's first stack. So it does nothing itself: it lines up, without
// a lock, and whoever has the subscriptions' lock next takes in all who have. It is woken once, when its channels were
// confirmed and their baselines are known. Baseline requests go out as soon as channels were confirmed, full ones beside each other.
//
// # Locks
//
// subscriptions.mu, which is taken by its lock method only, before channel.mu. sender.mu, receiveBuffer.mu, repairTicker.mu, baselines.mu, nackClient.mu, control.Queues.mu before control.Queue.mu,
// pipeline.Conn.mu are taken last, and alone. session.mu comes before all. No lock is held during I/O; the pipeline's write token and
// read token are, and are channels.
// The sink is called under channel.mu, which is what keeps a channel's events in order.
package redis
