// Package redistest starts real Redis servers for tests: standalone servers,
// clusters of n primaries with r replicas each, and Sentinel deployments, all
// on 127.0.0.1 and on ports the kernel chose (the cluster bus port included).
//
// A test asks for what it needs and gets it closed at its end:
//
//	srv := redistest.Standalone(t, redistest.Config{})
//	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 1})
//
// A package whose tests can share one cluster declares it and lets TestMain
// close it; the cluster starts when the first test asks for it:
//
//	var cluster = redistest.Share(redistest.ClusterConfig{Primaries: 3, Replicas: 1})
//
//	func TestMain(m *testing.M) { os.Exit(redistest.Main(m, cluster).Run()) }
//
//	func TestSomething(t *testing.T) { c := cluster.Cluster(t) ... }
//
// Programs that are no tests use [StartServer], [StartCluster] and
// [StartSentinel], which return errors.
//
// # Faults
//
// A [Server] can be killed (SIGKILL), stopped and continued (SIGSTOP and
// SIGCONT), shut down (SIGTERM), restarted on its port and in its directory,
// and can have its clients cut off. A [Cluster] fails over, moves slots in one
// go or step by step ([Migration]), moves replicas between shards, grows, and can
// have a node cut off from the others ([Cluster.Isolate]).
//
// # Waiting
//
// Everything that waits polls a condition until its context ends; every
// command has a deadline ([CommandTimeout] when the context has none), so a
// stopped server yields an error and never hangs a test.
//
// # What is started ends
//
// Close ends a server. On Linux the children also end when the process that
// started them ends in any other way: by a panic, os.Exit, a test's -timeout,
// or SIGKILL. Only processes this package started are ever signalled.
//
// # When there is no redis-server
//
// Tests are skipped with a message that tells what to install, and fail where
// the environment says CI=true. A server older than 7.0 fails them everywhere.
package redistest
