package subscriber

import (
	"strings"
	"sync"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// pushEvent is what a connection's reader saw.
type pushEvent struct {
	kind    pushKind
	channel string
	message string
}

type pushKind uint8

const (
	pushMessage pushKind = iota
	pushSubscribed
	pushUnsubscribed
)

// pushOverhead is about what a queued message costs beside its text.
const pushOverhead = 64

// receiveBuffer is the queue between a connection's reader, which must never wait, and who handles what it read: the reader
// itself, before it reads on, if that is little; else another goroutine, see session. Messages beyond the bound are dropped
// and counted; what became of subscriptions never is.
//
// Watermarks and questions wait in queues of their own, which are short, and are handled when no event waits: whoever
// floods us with them harms nothing else. It does no harm to take in a watermark later than the events behind it.
type receiveBuffer struct {
	limit int
	// sequenced is wire.Sequenced. It may decode the whole message, so mu is not held meanwhile.
	sequenced func(message string) bool

	mu sync.Mutex
	// mu guards what follows.
	queue    []pushEvent
	bytes    int // of queue
	handling int // of what was taken and is being handled
	dropped  map[string]drops
	control  [classes]controlQueue

	wake chan struct{} // capacity 1: a queue is not empty any more
}

// pushClass is what a message is, as far as its channel's name tells.
type pushClass uint8

const (
	classEvent     pushClass = iota // events, and answers to us
	classRequest                    // to publishers of ours
	classWatermark                  // watermarks
	classes
)

// controlQueue is a queue that is handled when no event waits.
type controlQueue struct {
	queue   []pushEvent
	bytes   int
	dropped uint64
}

// controlLimits bound those queues, in bytes. What is dropped comes again: questions are asked, watermarks sent, once more.
var controlLimits = [classes]int{classRequest: 1 << 20, classWatermark: 4 << 20}

// classify returns the class of a message. No topic's channel with a tag ends like those of control messages.
func classify(channel string) pushClass {
	if channel == "" || channel[0] != '{' {
		return classEvent
	}
	_, rest, _ := strings.Cut(channel, "}:shardbus:")
	switch {
	case rest == "hello" || strings.HasSuffix(rest, ":asks"):
		return classRequest
	case rest == "watermarks":
		return classWatermark
	}
	return classEvent
}

// queueRun is how many wait before somebody handles them beside the reader, which reads on: thousands of confirmations in
// one queue would have it grow many times over.
const queueRun = 1024

// drops counts what was dropped of a channel since somebody last looked.
type drops struct{ numbered, unnumbered uint64 }

func newReceiveBuffer(limit int) *receiveBuffer {
	return &receiveBuffer{limit: limit, sequenced: wire.Sequenced, wake: make(chan struct{}, 1)}
}

// hooks are what rueidis calls on its reader's goroutine.
func (b *receiveBuffer) hooks() rueidis.PubSubHooks {
	return rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) {
			b.put(pushEvent{kind: pushMessage, channel: m.Channel, message: m.Message})
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			switch s.Kind {
			case "ssubscribe":
				b.put(pushEvent{kind: pushSubscribed, channel: s.Channel})
			case "sunsubscribe":
				b.put(pushEvent{kind: pushUnsubscribed, channel: s.Channel})
			}
		},
	}
}

func (b *receiveBuffer) put(h pushEvent) {
	if h.kind == pushMessage {
		if c := classify(h.channel); c != classEvent {
			b.putControl(c, h)
			return
		}
	}
	size := len(h.message) + len(h.channel) + pushOverhead
	b.mu.Lock()
	if h.kind == pushMessage && b.fullLocked(size) {
		b.mu.Unlock()
		numbered := b.sequenced(h.message)
		b.mu.Lock()
		if b.fullLocked(size) { // else there is room by now
			b.dropLocked(h.channel, numbered)
			b.mu.Unlock()
			return
		}
	}
	b.bytes += size
	b.queue = append(b.queue, h)
	many := b.bytes > b.limit/4 || len(b.queue)%queueRun == 0
	b.mu.Unlock()
	if many {
		b.signal()
	}
}

// putControl queues what is no event.
func (b *receiveBuffer) putControl(c pushClass, h pushEvent) {
	b.mu.Lock()
	q, size := &b.control[c], len(h.message)+len(h.channel)+pushOverhead
	if q.bytes+size > controlLimits[c] {
		q.dropped++
		b.mu.Unlock()
		return
	}
	q.bytes += size
	q.queue = append(q.queue, h)
	b.mu.Unlock()
	b.signal()
}

// takeControl returns some of what waits beside the events, the watermarks first, and how many were dropped since it was
// called last. It wakes who handles them once more if that is not all.
func (b *receiveBuffer) takeControl() (taken []pushEvent, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range []pushClass{classWatermark, classRequest} {
		q := &b.control[c]
		n, bytes := 0, 0
		for n < len(q.queue) && bytes < controlRun {
			bytes += len(q.queue[n].message) + len(q.queue[n].channel) + pushOverhead
			n++
		}
		taken = append(taken, q.queue[:n]...)
		clear(q.queue[:n])
		q.bytes -= bytes
		if q.queue = q.queue[n:]; len(q.queue) == 0 {
			q.queue = nil
		} else {
			b.signal()
		}
		dropped += q.dropped
		q.dropped = 0
	}
	return taken, dropped
}

// controlRun is about how many bytes of a queue are handled between looks at events.
const controlRun = 32 << 10

// holds returns how many wait, and their size in bytes.
func (b *receiveBuffer) holds() (n, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue), b.bytes
}

// signal wakes who handles what waits.
func (b *receiveBuffer) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// fullLocked reports whether a message of that size is too much to wait. The first that waits never is.
func (b *receiveBuffer) fullLocked(size int) bool {
	return len(b.queue) > 0 && b.bytes+b.handling+size > b.limit
}

// dropLocked counts a message that was dropped. The gap of a numbered event is found by its number. What has none must be
// counted here.
func (b *receiveBuffer) dropLocked(channel string, numbered bool) {
	if b.dropped == nil {
		b.dropped = make(map[string]drops)
	}
	d := b.dropped[channel]
	if numbered {
		d.numbered++
	} else {
		d.unnumbered++
	}
	b.dropped[strings.Clone(channel)] = d
}

// swap returns what has queued up, in order, its size in bytes, and what was dropped behind it. It keeps spare,
// emptied, for what comes.
func (b *receiveBuffer) swap(spare []pushEvent) (queue []pushEvent, held int, dropped map[string]drops) {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, b.queue = b.queue, spare[:0]
	dropped, b.dropped = b.dropped, nil
	b.handling, b.bytes = b.bytes, 0
	return queue, b.handling, dropped
}

// handled says that what swap returned last is done with.
func (b *receiveBuffer) handled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handling = 0
}
