package subscriber

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"go.uber.org/zap"
)

// tellRefused is how often refused channels are logged. They are tried again every second.
const tellRefused = time.Minute

// warnEvery is how often a connection that stays behind is reported.
const warnEvery = 10 * time.Second

// lagWarning warns when a connection does not keep up, while there is time: what the server holds for it is bounded by
// client-output-buffer-limit pubsub, beyond which it closes the connection, and what we hold by Config.ReceiveBytes.
type lagWarning struct {
	log    *zap.Logger
	addr   string
	client int64        // the connection's number at its server; 0: not known
	warned atomic.Int64 // when, in nanoseconds since 1970
}

// due reports whether it is time for another warning.
func (b *lagWarning) due(now time.Time) bool {
	last := b.warned.Load()
	return now.UnixNano()-last >= int64(warnEvery) && b.warned.CompareAndSwap(last, now.UnixNano())
}

// late is called because a probe is late while other events arrive: the server has more for us than we read. It has the
// publisher's connection ask how much, since an answer on this one would come behind it all.
func (b *lagWarning) late(now time.Time, waiting time.Duration, k *control.Peer) {
	if !b.due(now) {
		return
	}
	warn := func(held string) {
		b.log.Warn("redis: this subscriber is behind; beyond its client-output-buffer-limit the server closes the connection",
			zap.String("addr", b.addr), zap.Duration("lag", waiting), zap.String("server_bytes", held))
	}
	id := b.client
	if id == 0 {
		warn("unknown")
		return
	}
	asked := k.Send(control.Command{
		Command: resp.Append(nil, "CLIENT", "LIST", "ID", strconv.FormatInt(id, 10)),
		Done: func(reply resp.Reply, err error) {
			if err != nil { // most likely an ACL's
				warn("unknown: " + err.Error())
				return
			}
			warn(listed(reply.Text, "omem"))
		},
	})
	if !asked {
		warn("unknown")
	}
}

// full is called because more than half of the room for what was received is taken.
func (b *lagWarning) full(now time.Time, held, limit int) {
	if b.due(now) {
		b.log.Warn("redis: received events wait for the bus; beyond Config.ReceiveBytes they become gaps",
			zap.String("addr", b.addr), zap.Int("held_bytes", held), zap.Int("receive_bytes", limit))
	}
}

// listed returns the value of name=value in a line of CLIENT LIST; "unknown" if there is none.
func listed(line, name string) string {
	for word := range strings.FieldsSeq(line) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return "unknown"
}
