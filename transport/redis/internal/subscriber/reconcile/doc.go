// Package reconcile decides which channels are subscribed on which connections. It holds what is wanted (topics, and
// the references of channels) and what is (where each channel is confirmed or asked for), and returns the commands that
// lead from one to the other.
//
// It is a state machine without I/O, goroutines, clocks or locks. Its events are the methods of [Reconciler]: Subscribe
// and Unsubscribe say what is wanted; SessionUp, SessionLost, Confirmed, Unsubscribed, Redirected and Refused say what
// became of it at the servers; TopologyChanged says which node serves which slot. [Reconciler.Commands] returns what one
// session has to ask its server for. What must happen besides goes through [Effects].
//
// Whatever the order of the events is: when the topology stays as it is, every node has a session and servers accept
// what they are asked, then each wanted channel ends up confirmed at the owner of its slot and at its replicas, each
// other channel ends up nowhere, and each Subscribe has ended.
package reconcile
