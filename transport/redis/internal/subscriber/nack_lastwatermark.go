package subscriber

import (
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// seekLast looks for the last watermark of a publisher that nobody hears, on the slots of channels where it is in doubt
// what it sent.
func (r *nackClient) seekLast(publisher string, all []missing) {
	sought := make(map[int]bool)
	for _, m := range all {
		if slot := m.ch.Slot(); !sought[slot] && m.ch.inDoubt(publisher) {
			sought[slot] = true
			r.seekLastAt(slot, publisher)
		}
	}
}

func (r *nackClient) seekLastAt(slot int, publisher string) {
	owner, known := r.s.Cluster.Snapshot().Primary(slot)
	if !known {
		return
	}
	get := control.Message{Command: resp.Append(nil, "GET", wire.LastKey(slot, publisher))}
	get.Answered = func(reply resp.Reply, err error) {
		switch {
		case err != nil:
			r.s.Log.Debug("redis: the last watermark could not be read", zap.String("publisher", publisher), zap.Error(err))
		case reply.Kind == resp.Text:
			r.foundLast(publisher, reply.Text)
		}
	}
	r.s.Sender.At(connkey.Key{Addr: owner.Addr}).Send(get) // if there is no room: it is looked for again
}

// foundLast takes in the last watermark of a publisher.
func (r *nackClient) foundLast(publisher, text string) {
	w, err := wire.DecodeWatermark(text)
	if err != nil || w.Publisher != publisher || !w.Final {
		r.s.Log.Debug("redis: invalid last watermark", zap.String("publisher", publisher), zap.Error(err))
		return
	}
	now := time.Now()
	for _, m := range w.Streams {
		if ch := r.s.subscriptions.eventChannel(m.Channel); ch != nil {
			ch.watermark(now, publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Uncertain: m.Uncertain, Final: true, Epoch: m.Epoch, Copy: true,
			})
		}
	}
}
