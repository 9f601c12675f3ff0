// Package subscriber is the receiving side of the Redis transport. For each node there is a session: a connection, what
// arrives on it (receive buffer), and what proves that it lives (keepalive, heartbeat). What is subscribed on which
// session the package reconcile decides. A channel hands events to its tracker, which puts them in order and knows what
// is missing; the nack client asks publishers for that, and for their positions when a channel is confirmed (baseline).
//
// It imports nothing of the publishing side. What the two do for each other goes through the package control.
//
// Locks: session.mu, then subscriptions.mu, which is taken by its lock method only, then channel.mu; receiveBuffer.mu,
// repairTicker.mu, baselines.mu, nackClient.mu, TopicViews.mu are taken last, and alone; the publishing side calls
// TopicViews with its locks held. No lock is held during I/O. The sink is called under channel.mu, which is what keeps a
// channel's events in order.
package subscriber
