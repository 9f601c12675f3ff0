package redis

import (
	"strings"
	"sync"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// happening is what a connection's reader saw.
type happening struct {
	kind    happeningKind
	channel string
	message string
}

type happeningKind uint8

const (
	gotMessage happeningKind = iota
	gotSubscribed
	gotUnsubscribed
)

// happeningOverhead is about what a queued message costs beside its text.
const happeningOverhead = 64

// inbox is the queue between a connection's reader, which must never wait, and who handles what it read: the reader
// itself, before it reads on, if that is little; else another goroutine, see feed. Messages beyond the bound are dropped
// and counted; what became of subscriptions never is.
type inbox struct {
	limit int

	mu sync.Mutex
	// mu guards what follows.
	queue    []happening
	bytes    int // of queue
	handling int // of what was taken and is being handled
	dropped  map[string]drops

	wake chan struct{} // capacity 1: the queue is not empty any more
}

// queueRun is how many wait before somebody handles them beside the reader, which reads on: thousands of confirmations in
// one queue would have it grow many times over.
const queueRun = 1024

// drops counts what was dropped of a channel since somebody last looked.
type drops struct{ numbered, unnumbered uint64 }

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, wake: make(chan struct{}, 1)}
}

// hooks are what rueidis calls on its reader's goroutine.
func (b *inbox) hooks() rueidis.PubSubHooks {
	return rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) {
			b.put(happening{kind: gotMessage, channel: m.Channel, message: m.Message})
		},
		OnSubscription: func(s rueidis.PubSubSubscription) {
			switch s.Kind {
			case "ssubscribe":
				b.put(happening{kind: gotSubscribed, channel: s.Channel})
			case "sunsubscribe":
				b.put(happening{kind: gotUnsubscribed, channel: s.Channel})
			}
		},
	}
}

func (b *inbox) put(h happening) {
	b.mu.Lock()
	size := len(h.message) + len(h.channel) + happeningOverhead
	if h.kind == gotMessage && len(b.queue) > 0 && b.bytes+b.handling+size > b.limit {
		b.dropLocked(h)
		b.mu.Unlock()
		return
	}
	b.bytes += size
	b.queue = append(b.queue, h)
	many := b.bytes > b.limit/4 || len(b.queue)%queueRun == 0
	b.mu.Unlock()
	if many {
		b.signal()
	}
}

// holds returns how many wait, and their size in bytes.
func (b *inbox) holds() (n, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue), b.bytes
}

// signal wakes who handles what waits.
func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *inbox) dropLocked(h happening) {
	if b.dropped == nil {
		b.dropped = make(map[string]drops)
	}
	d := b.dropped[h.channel]
	// The gap of a numbered event is found by its number. What has none must be counted here.
	if wire.Sequenced(h.message) {
		d.numbered++
	} else {
		d.unnumbered++
	}
	b.dropped[strings.Clone(h.channel)] = d
}

// swap returns what has queued up, in order, its size in bytes, and what was dropped behind it. It keeps spare,
// emptied, for what comes.
func (b *inbox) swap(spare []happening) (queue []happening, held int, dropped map[string]drops) {
	clear(spare)
	b.mu.Lock()
	defer b.mu.Unlock()
	queue, b.queue = b.queue, spare[:0]
	dropped, b.dropped = b.dropped, nil
	b.handling, b.bytes = b.bytes, 0
	return queue, b.handling, dropped
}

// handled says that what swap returned last is done with.
func (b *inbox) handled() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handling = 0
}
