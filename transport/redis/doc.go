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
//	topology    asks the nodes who owns which slot, and keeps the newest answer of all        (topology, asker, watch, claims)
//	            or the sentinels who the primary is                                           (sentinel, sentinel_watch, sentinel_view)
//	logins      keeps the open connections logged in                                          (credentials, logins)
//	shards      keeps two children running for each primary                                   (shards)
//	  writer    publishes what has queued up for the shard, as pipelines                      (outbox, stream, lane, crew, writer)
//	  reader    one connection for all channels of the shard                                  (reader, inbox, feed)
//	    probe   proves that the connection hears its node, and warns when it is behind        (pulse, probe, backlog)
//	    silence asks a server that says nothing whether it lives                               (silence)
//	  link      what the writer and the reader of a shard do for each other                   (link)
//	  courier   sends control documents beside the events, on the writer's connection        (courier)
//	copies      with Config.Standby, the same channels at the replicas                          (copies)
//	refuges     and where a shard's events are published while its primary is of no use         (refuges, internal/refuge)
//	dedicated   topics with connections of their own: each a transport within the transport     (dedicated)
//	clock       asks for what is missing, and gives up what has been for too long             (clock)
//	repair      asks publishers and answers subscribers, over channels of its own             (repair, greeting, answers, listening)
//
// What decides about repair is pure: internal/window is what a publisher remembers, internal/track what a subscriber
// misses, whom it asks when, and what waits, internal/pace how often.
//
// [outbox] and [registry] outlive the children, so that a child that fails loses nothing but its connection. A failing
// child is restarted without limit and without touching any other.
//
// A Publish whose context can end never writes to the socket itself: it must return when its context ends, and who is in
// a write cannot. That costs a lone publisher two switches of goroutines an event, which at 50 µs a round trip on one
// machine halves its rate, and is nothing where events queue up. One whose context has no end writes by itself where a
// writer is idle (crew). A connection of its own for each of a writer's pipelines, which saves rueidis its goroutines,
// was measured and gained nothing.
//
// # Locks
//
// registry.mu before channel.mu. outbox.mu, inbox.mu, clock.mu, greetings.mu, repairs.mu, couriers.mu before courier.mu
// are taken last, and alone. No lock is held during I/O.
// The sink is called under channel.mu, which is what keeps a channel's events in order.
package redis
