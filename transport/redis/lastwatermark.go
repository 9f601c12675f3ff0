package redis

import (
	"fmt"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// lastKept is for how long the last watermarks of a publisher that has ended are kept.
const lastWatermarkAge = 10 * time.Minute

// appendLast appends commands that keep last watermarks where a subscriber finds them that was cut off meanwhile: each in a
// key on its slot, for a while. It returns how many. Who may not write keys keeps none; subscribers say then that they do
// not know how much is missing.
func (w *writer) appendLastWatermarks(commands []byte, marks []wire.Watermark) (all []byte, n int, err error) {
	if w.t.cfg.Repair.Off {
		return commands, 0, nil
	}
	for _, m := range marks {
		if !wire.IsParty(m.Publisher) { // nobody asks for it
			continue
		}
		doc, err := wire.AppendWatermark(nil, m)
		if err != nil {
			return nil, 0, fmt.Errorf("redis: %w", err)
		}
		key := wire.LastKey(router.Slot(m.Streams[0].Channel), m.Publisher)
		commands = resp.Append(commands, "SET", key, string(doc), "PX", strconv.FormatInt(lastWatermarkAge.Milliseconds(), 10))
		n++
	}
	return commands, n, nil
}

// keptLast takes in what was answered to those commands.
func (w *writer) checkLastWatermarks(replies []resp.Reply) {
	if err := firstFailure(replies, nil); err != nil {
		w.t.log.Debug("redis: a last watermark is not kept", zap.String("addr", w.addr), zap.Error(err))
	}
}

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
	owner, known := r.t.topology.snapshot.Load().Primary(slot)
	if !known {
		return
	}
	get := control.Message{Command: resp.Append(nil, "GET", wire.LastKey(slot, publisher))}
	get.Answered = func(reply resp.Reply, err error) {
		switch {
		case err != nil:
			r.t.log.Debug("redis: last watermark not read", zap.String("publisher", publisher), zap.Error(err))
		case reply.Kind == resp.Text:
			r.foundLast(publisher, reply.Text)
		}
	}
	r.t.controlSenders.At(owner.Addr).Send(get) // if there is no room: it is looked for again
}

// foundLast takes in the last watermark of a publisher.
func (r *nackClient) foundLast(publisher, text string) {
	w, err := wire.DecodeWatermark(text)
	if err != nil || w.Publisher != publisher || !w.Final {
		r.t.log.Debug("redis: a last watermark that is none", zap.String("publisher", publisher), zap.Error(err))
		return
	}
	now := time.Now()
	for _, m := range w.Streams {
		if ch := r.t.subscriptions.eventChannel(m.Channel); ch != nil {
			ch.watermark(now, publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Uncertain: m.Uncertain, Final: true, Epoch: m.Epoch, Copy: true,
			})
		}
	}
}
