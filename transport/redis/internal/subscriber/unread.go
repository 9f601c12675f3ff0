package subscriber

import (
	"sync"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// quality counts malformed messages that were delivered, and optional attributes of others that could not be read.
type quality struct{ malformed, unread uint64 }

// maxUnreadTopics bounds the topics that unreadLog knows.
const maxUnreadTopics = 1024

// unreadLog tells the log of attributes that could not be read: once for each topic and attribute, so that a publisher that
// always sends one does not fill it. How many there were, Transport.Ledger tells.
type unreadLog struct {
	log *zap.Logger

	mu       sync.Mutex
	reported map[string]wire.Attributes // by topic; guarded by mu
}

func (l *unreadLog) report(env *transport.Envelope, unread wire.Attributes) {
	if unread = l.fresh(env.Topic, unread); unread == 0 {
		return
	}
	l.log.Warn("redis: attributes of a foreign event could not be read and are left out; logged once for each topic and attribute",
		zap.String("topic", env.Topic), zap.Stringer("attributes", unread),
		zap.String("publisher", clip(env.Publisher)), zap.String("id", clip(env.ID)))
}

// fresh returns those that nobody was told of.
func (l *unreadLog) fresh(topic string, unread wire.Attributes) wire.Attributes {
	l.mu.Lock()
	defer l.mu.Unlock()
	told, known := l.reported[topic]
	if !known && len(l.reported) >= maxUnreadTopics {
		return 0
	}
	if l.reported == nil {
		l.reported = make(map[string]wire.Attributes)
	}
	l.reported[topic] = told | unread
	return unread &^ told
}

// clip keeps the beginning of a text of any length, for the log.
func clip(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}
