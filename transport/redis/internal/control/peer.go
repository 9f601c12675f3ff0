package control

import "github.com/shardbus/shardbus/transport/redis/internal/resp"

// Peer is what the publisher and the subscriber of one node and class do for each other. It
// outlives their connections.
type Peer struct {
	// Commands are the subscriber's, to be sent on the publisher's connection.
	Commands chan Command
	// ProbeRequests has capacity 1: the publisher has reason to doubt the subscriber's connection.
	ProbeRequests chan struct{}
}

// Command is a command and where its outcome goes, which must not block.
type Command struct {
	Command []byte
	Done    func(reply resp.Reply, err error)
}

// NewPeer returns the peer of a node and class.
func NewPeer() *Peer {
	return &Peer{Commands: make(chan Command, 1), ProbeRequests: make(chan struct{}, 1)}
}

// Send hands a command over. It reports false if the publisher is busy with another, or not there.
func (p *Peer) Send(c Command) bool {
	select {
	case p.Commands <- c:
		return true
	default:
		return false
	}
}

// RequestProbe has the subscriber's connection probed at once.
func (p *Peer) RequestProbe() {
	select {
	case p.ProbeRequests <- struct{}{}:
	default:
	}
}
