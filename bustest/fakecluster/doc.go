// Package fakecluster is a Redis Cluster in memory, for tests: real clients, rueidis and the Redis transport among them,
// run on it without a server, without sockets, and on the virtual time of a synctest bubble.
//
//	func TestSomething(t *testing.T) {
//		synctest.Test(t, func(t *testing.T) {
//			fakecluster.AwaitClients(t)
//			c := fakecluster.New(t, fakecluster.Config{Primaries: 3, Replicas: 1, Version: "7.2.4"})
//			client := connect(c.Addrs(), c.Dial) // whatever is tested
//			c.Kill(c.PrimaryFor(slot))
//			c.FailOver(c.Shard(slot))
//			time.Sleep(time.Hour)
//		})
//	}
//
// One miniredis holds the keys of all nodes. What miniredis lacks is here: nodes with views of the cluster, sharded
// Pub/Sub with RESP3 pushes, redirection, migrations, fail-overs, transactions and scripts that publish.
//
// # Faults
//
// [Cluster.Kill] and Restart, Pause and Unpause, Isolate and Rejoin, FailOver and FailOverTo, BeginMigration and
// MigrateSlot, MoveReplica, Unassign, Latency and KillClients do to nodes what happens to real ones. [Cluster.Fault]
// decides about single commands. All take effect before they return.
//
// # What is not modelled fails the test
//
// A command, an option or a combination that the fake does not model is answered with an error and reported by t.Errorf,
// once for each command: no answer is made up. Among them are XINFO STREAM and GROUPS, XCLAIM, XAUTOCLAIM JUSTID, LIMIT
// of a trim, PSUBSCRIBE, CLIENT CACHING, ACL, CONFIG, DEBUG, KEYS and SCAN, functions, and EVAL inside MULTI.
//
// # What differs from real servers
//
// A test plays one script on both and compares every word. Known differences:
//
//   - Replication does not happen, as the nodes share the keys: nothing is lost by a fail-over, a replica reads every
//     write at once, WAIT counts the replicas that can be reached, offsets are 0. Killing a node loses no keys.
//   - The cluster bus is instant, ordered and lossless but for nodes that are killed or isolated; a paused node gets all
//     when it goes on.
//   - Fail-overs, failure detection and their gossip take effect for all nodes at one moment. A fail-over of its source or
//     target ends a migration. A node that was paused learns of the new topology before it carries out what waits.
//   - A node counts as failed after Config.NodeTimeout without a vote; nodes that are isolated from the same moment on do
//     not see each other; an isolated node's CLUSTER NODES shows the others as connected.
//   - Cluster epochs are right in their order, not in their numbers; ping times are 0.
//   - Before 7.2, EXEC that publishes to its own client writes the push into the middle of its reply. The fake fails the
//     test instead.
//   - Texts of errors of scripts are miniredis' own; Lua lacks cmsgpack, struct and bit. EVAL on a replica is always MOVED.
//   - Trimming with ~ is exact; IDs smaller than a trimmed entry's are accepted; what XPENDING says of deleted entries
//     differs.
//   - CLIENT LIST, INFO and CLUSTER INFO have a part of the fields.
//   - The output buffer limit counts what waits for the client's connection, which over TCP is behind the kernel's buffers.
//
// Timing, throughput and losses of a saturated cluster show on real servers only.
//
// # Bubbles
//
// In a bubble, create the cluster and the clients inside it, and use no TCP. Clients may leave goroutines behind that
// sleep for seconds; [AwaitClients] waits for them.
package fakecluster
