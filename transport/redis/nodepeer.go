package redis

import "github.com/shardbus/shardbus/transport/redis/internal/resp"

// link is what the publisher and the subscriber of one node do for each other. It outlives their connections.
type nodePeer struct {
	proxyCommands chan proxyCommand // the subscriber's commands, to be sent on the publisher's connection
	probeRequests chan struct{}     // capacity 1: the publisher has reason to doubt the subscriber's connection
}

// errand is a command and where its outcome goes, which must not block.
type proxyCommand struct {
	command []byte
	done    func(reply resp.Reply, err error)
}

func newNodePeer() *nodePeer {
	return &nodePeer{proxyCommands: make(chan proxyCommand, 1), probeRequests: make(chan struct{}, 1)}
}

// send hands an errand over, and reports false if the publisher is busy with another, or not there.
func (k *nodePeer) send(e proxyCommand) bool {
	select {
	case k.proxyCommands <- e:
		return true
	default:
		return false
	}
}

// raiseDoubt has the subscriber's connection probed at once.
func (k *nodePeer) requestProbe() {
	select {
	case k.probeRequests <- struct{}{}:
	default:
	}
}

// runErrand sends an errand's command under a deadline. An error says that the connection is of no use any more.
func (w *writer) runProxyCommand(e proxyCommand) error {
	replies, err := w.do(e.command, 1)
	if err == nil {
		e.done(replies[0], replies[0].Err())
		return nil
	}
	e.done(resp.Reply{}, err)
	return err
}
