package publisher

import (
	"fmt"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// lastWatermarkAge is for how long the last watermarks of a publisher that has ended are kept.
const lastWatermarkAge = 10 * time.Minute

// appendLastWatermarks appends commands that keep last watermarks where a subscriber finds them
// that was cut off meanwhile: each in a key on its slot, for a while. It returns how many. Who may
// not write keys keeps none; subscribers say then that they do not know how much is missing.
func (w *writer) appendLastWatermarks(commands []byte, marks []wire.Watermark) (all []byte, n int, err error) {
	if w.pub.cfg.Memory == nil {
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

// checkLastWatermarks takes in what was answered to those commands.
func (w *writer) checkLastWatermarks(replies []resp.Reply) {
	if err := firstFailure(replies, nil); err != nil {
		w.pub.log.Debug("redis: the last watermark could not be stored", zap.String("addr", w.addr), zap.Error(err))
	}
}
