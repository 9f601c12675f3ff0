// Package cluster finds the servers and keeps the current view of them: which node owns which slot
// of a cluster, which primary the sentinels name, or which of several standalone servers is the
// primary.
//
//	discover, identify        what Open asks: the servers, what they are, and whether they will do
//	topology, changelog       the view, who is told when it changes, and what is logged of it
//	poller                    one server that is asked again and again, on a connection of its own
//	cluster_watch             polls the nodes of a cluster         (view, slotowners, clusternodes)
//	sentinel_watch            polls the sentinels                  (sentinel_view)
//	standalone_watch          polls standalone servers             (standalone)
//	misdirected               what is wrong with a redirection, in words
//
// What decides is pure: slotowners (the newest answer of all wins), sentinel_view (candidates) and
// standalone (which address to use). A newer view is kept until its source retracts it; otherwise a
// client that was cut off together with a replaced primary would turn back to it.
//
// A [Topology] is read without locks, from any goroutine. Only its Serve changes it.
package cluster
