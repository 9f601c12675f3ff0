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
//
// Watermarks and questions wait in queues of their own, which are short, and are handled when no event waits: whoever
// floods us with them harms nothing else. It does no harm to take in a watermark later than the events behind it.
type inbox struct {
	limit int
	// sequenced is wire.Sequenced. It may decode the whole message, so mu is not held meanwhile.
	sequenced func(message string) bool

	mu sync.Mutex
	// mu guards what follows.
	queue    []happening
	bytes    int // of queue
	handling int // of what was taken and is being handled
	dropped  map[string]drops
	aside    [classes]aside

	wake chan struct{} // capacity 1: a queue is not empty any more
}

// class is what a message is, as far as its channel's name tells.
type class uint8

const (
	asEvent   class = iota // events, and answers to us
	aQuestion              // to publishers of ours
	aMark                  // watermarks
	classes
)

// aside is a queue that is handled when no event waits.
type aside struct {
	queue   []happening
	bytes   int
	dropped uint64
}

// asideLimits bound those queues, in bytes. What is dropped comes again: questions are asked, watermarks told, once more.
var asideLimits = [classes]int{aQuestion: 1 << 20, aMark: 4 << 20}

// classOf returns the class of a message. No topic's channel with a tag ends like those of control messages.
func classOf(channel string) class {
	if channel == "" || channel[0] != '{' {
		return asEvent
	}
	_, rest, _ := strings.Cut(channel, "}:shardbus:")
	switch {
	case rest == "hello" || strings.HasSuffix(rest, ":asks"):
		return aQuestion
	case rest == "watermarks":
		return aMark
	}
	return asEvent
}

// queueRun is how many wait before somebody handles them beside the reader, which reads on: thousands of confirmations in
// one queue would have it grow many times over.
const queueRun = 1024

// drops counts what was dropped of a channel since somebody last looked.
type drops struct{ numbered, unnumbered uint64 }

func newInbox(limit int) *inbox {
	return &inbox{limit: limit, sequenced: wire.Sequenced, wake: make(chan struct{}, 1)}
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
	if h.kind == gotMessage {
		if c := classOf(h.channel); c != asEvent {
			b.putAside(c, h)
			return
		}
	}
	size := len(h.message) + len(h.channel) + happeningOverhead
	b.mu.Lock()
	if h.kind == gotMessage && b.fullLocked(size) {
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

// putAside queues what is no event.
func (b *inbox) putAside(c class, h happening) {
	b.mu.Lock()
	q, size := &b.aside[c], len(h.message)+len(h.channel)+happeningOverhead
	if q.bytes+size > asideLimits[c] {
		q.dropped++
		b.mu.Unlock()
		return
	}
	q.bytes += size
	q.queue = append(q.queue, h)
	b.mu.Unlock()
	b.signal()
}

// takeAside returns some of what waits beside the events, the watermarks first, and how many were dropped since it was
// called last. It wakes who handles them once more if that is not all.
func (b *inbox) takeAside() (taken []happening, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range []class{aMark, aQuestion} {
		q := &b.aside[c]
		n, bytes := 0, 0
		for n < len(q.queue) && bytes < asideRun {
			bytes += len(q.queue[n].message) + len(q.queue[n].channel) + happeningOverhead
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

// asideRun is about how many bytes of a queue are handled between looks at events.
const asideRun = 32 << 10

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

// fullLocked reports whether a message of that size is too much to wait. The first that waits never is.
func (b *inbox) fullLocked(size int) bool {
	return len(b.queue) > 0 && b.bytes+b.handling+size > b.limit
}

// dropLocked counts a message that was dropped. The gap of a numbered event is found by its number. What has none must be
// counted here.
func (b *inbox) dropLocked(channel string, numbered bool) {
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
