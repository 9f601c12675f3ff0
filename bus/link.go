package bus

import (
	"context"

	"github.com/shardbus/shardbus/transport"
)

// link is what a topic has with a transport.
type link struct {
	transport transport.Transport
	// subscribing serialises subscribing and unsubscribing at the transport. It has one place; taken before
	// fanout.mu, never inside it.
	subscribing chan struct{}
	removed     bool // the topic was closed; it belongs to whose turn it is
	mismatches  mismatches
}

func newLink(t transport.Transport) *link {
	return &link{transport: t, subscribing: make(chan struct{}, 1)}
}

// begin waits for the turn at subscribing; end must follow where it returns nil.
func (l *link) begin(ctx context.Context) error {
	select {
	case l.subscribing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

// beginNow is begin, also when ctx has ended, if it is nobody's turn.
func (l *link) beginNow(ctx context.Context) error {
	select {
	case l.subscribing <- struct{}{}:
		return nil
	default:
		return l.begin(ctx)
	}
}

func (l *link) end() { <-l.subscribing }
