package publisher

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestRetransmissionHasALimit: what a question is answered with stays within the limit, but for one event, and no answer
// is much larger than answerBytes.
func TestRetransmissionHasALimit(t *testing.T) {
	settings := testSettings()
	settings.Memory.Bytes = 16 << 20
	pub := New(settings, newFakeCluster(oneShard(t, "a:1")))
	now := time.Unix(1e6, 0)
	const events, size = 300, 10_000
	o := pub.sender
	o.lockAll()
	s := o.channelQueueLocked(queueKey{publisher: "p", channel: "c"}, &route{channel: "c", slot: router.Slot("c")}, new(transport.Envelope))
	for seq := uint64(1); seq <= events; seq++ {
		s.assigned = seq
		s.window.window.Put(now, seq, append(append([]byte(`{"x":"`), make([]byte, size)...), `"}`...))
	}
	o.unlockAll()
	for _, limit := range []int{1, size, 10 * size, 100 * size, 1 << 30} {
		answers, looked := pub.Answerer().Retransmit(now, "p",
			wire.Nack{Subscriber: "s", N: 1, Streams: []wire.Missing{{Channel: "c", Numbers: "1-300"}}}, limit)
		sum, count := 0, 0
		for _, a := range answers {
			bytes := 0
			for _, event := range a.Events {
				bytes += len(event)
				count++
			}
			if sum += bytes; bytes > answerBytes+2*size {
				t.Errorf("an answer of %d bytes", bytes)
			}
		}
		if most := max(limit, 2*size); sum > most || count == 0 || limit > events*2*size && count != events || looked < count {
			t.Errorf("limit %d: %d events of %d bytes, %d numbers were looked at", limit, count, sum, looked)
		}
	}
}
