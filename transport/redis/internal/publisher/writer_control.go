package publisher

import (
	"context"

	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// serveControl sends the control messages for a node on the connection of w until ctx ends or the
// connection fails.
func (w *writer) serveControl(ctx context.Context, queue *control.Queue) error {
	queue.Open()
	defer queue.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-queue.Ready():
		}
		messages := queue.Take()
		if len(messages) == 0 {
			continue
		}
		var commands []byte
		for _, m := range messages {
			if m.Command != nil {
				commands = append(commands, m.Command...)
			} else {
				commands = resp.AppendPublish(commands, m.Channel, m.Doc)
			}
		}
		replies, lost := w.do(commands, len(messages))
		for i, m := range messages {
			if i < len(replies) {
				m.Complete(replies[i], replies[i].Err())
			} else {
				m.Complete(resp.Reply{}, lost)
			}
		}
		if lost != nil {
			return lost
		}
	}
}

// runProxyCommand sends a command of the subscriber under a deadline. An error says that the
// connection is of no use any more.
func (w *writer) runProxyCommand(c control.Command) error {
	replies, err := w.do(c.Command, 1)
	if err == nil {
		c.Done(replies[0], replies[0].Err())
		return nil
	}
	c.Done(resp.Reply{}, err)
	return err
}
