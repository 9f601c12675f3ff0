package publisher

import (
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Remember takes in an event as if it had been accepted just now. It is for tests of what
// subscribers ask for.
func (pub *Publisher) Remember(now time.Time, publisher, channel string, seq uint64, doc []byte) {
	o := pub.sender
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.channelQueueLocked(queueKey{publisher: publisher, channel: channel}, router.Slot(channel), new(transport.Envelope))
	s.assigned = seq
	s.window.Put(now, seq, doc)
}

// AnswerBytes is about how large one answer gets, unless one event is larger.
const AnswerBytes = answerBytes
