package redis

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// feed is one incarnation of a reader: a connection and what arrives on it.
type feed struct {
	t     *Transport
	addr  string
	inbox *inbox
	wake  chan struct{} // capacity 1: the registry has work for it
	ears  ears

	backlog backlog

	mu sync.Mutex
	// mu guards what follows. It is held while what arrived is handled, so that it is in order.
	local map[string]*channel // those confirmed on this connection
	spare []happening
	ended bool      // nothing is handled any more
	told  time.Time // when it was logged last that control messages were dropped
}

func newFeed(t *Transport, addr string) *feed {
	f := &feed{
		t: t, addr: addr, inbox: newInbox(t.cfg.ReceiveBytes),
		wake: make(chan struct{}, 1), local: make(map[string]*channel),
	}
	f.ears.init()
	f.backlog.log, f.backlog.addr = t.log, addr
	return f
}

func (f *feed) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// What the connection's reader handles itself, at most: for the time that takes, the server keeps what comes, and cuts off
// who lets it keep too much.
const (
	fewHappenings = 32
	fewBytes      = 16 << 10
)

// dry is called by the connection's reader before it waits for more. A little it handles itself, which saves waking
// somebody for each event where they come one by one; while there is much, it goes on reading at the same time.
func (f *feed) dry() {
	switch n, size := f.inbox.holds(); {
	case n == 0:
	case n <= fewHappenings && size <= fewBytes && f.mu.TryLock():
		f.drain()
		f.mu.Unlock()
	default:
		f.inbox.signal()
	}
}

// consume handles what arrives and the reader does not, until closed is closed and everything before was handled.
func (f *feed) consume(closed <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-f.inbox.wake:
		case <-closed:
			ended = true
		}
		f.mu.Lock()
		f.drain()
		for f.drainAside() && ended {
		}
		f.ended = ended
		f.mu.Unlock()
	}
}

// drain handles what has arrived, in order. The caller holds mu.
func (f *feed) drain() {
	if f.ended {
		return
	}
	queue, held, dropped := f.inbox.swap(f.spare)
	now := time.Now()
	if held > f.inbox.limit/2 {
		f.backlog.full(now, held, f.inbox.limit)
	}
	for i := 0; i < len(queue); i++ {
		if queue[i].kind != gotSubscribed {
			f.handle(now, &queue[i])
			continue
		}
		first := i
		for i+1 < len(queue) && i-first < fewConfirmed && queue[i+1].kind == gotSubscribed {
			i++
		}
		f.subscribed(now, queue[first:i+1])
	}
	for name, d := range dropped {
		f.overflow(now, name, d)
	}
	f.inbox.handled()
	if f.spare = queue; cap(queue) > maxSpare {
		f.spare = nil
	}
}

// drainAside handles some of what is no event, in order, and reports whether there was any. The caller holds mu.
func (f *feed) drainAside() bool {
	if f.ended {
		return false
	}
	queue, dropped := f.inbox.takeAside()
	now := time.Now()
	for i := range queue {
		f.handle(now, &queue[i])
	}
	if dropped > 0 && now.Sub(f.told) >= tellRefused {
		f.told = now
		f.t.log.Warn("redis: control messages come faster than they are handled, and were dropped: they come again",
			zap.String("addr", f.addr), zap.Uint64("dropped", dropped))
	}
	return len(queue) > 0
}

// maxSpare is the largest queue that is kept for the next burst, in entries.
const maxSpare = 4096

func (f *feed) handle(now time.Time, h *happening) {
	switch h.kind {
	case gotMessage:
		ch := f.local[h.channel]
		f.ears.heard.Add(1)
		switch {
		case ch == nil: // the probe, or left, or never asked for
			f.ears.listen(h.channel, h.message)
		case ch.kind == eventChannel:
			ch.message(now, f, h.message)
		case ch.kind == watermarkChannel:
			f.watermark(now, h.message)
		default:
			f.t.repairs.control(now, f, ch, h.message)
		}
	case gotSubscribed: // see subscribed
	case gotUnsubscribed:
		f.ears.confirmed(h.channel, false)
		delete(f.local, h.channel)
		f.ears.channels.Store(int64(len(f.local)))
		f.t.registry.released(f, h.channel)
	}
}

// fewConfirmed is how many confirmations are taken in together, at most.
const fewConfirmed = 128

// subscribed takes in confirmations.
func (f *feed) subscribed(now time.Time, all []happening) {
	hello := false
	f.t.registry.confirmed(f, all, now, func(name string, ch *channel) {
		if ch != nil {
			f.local[ch.name] = ch
			hello = hello || ch.kind == helloChannel
		} else {
			f.ears.confirmed(name, true)
		}
	})
	f.t.repairs.sendGreetingsNow(now)
	if hello {
		f.t.outbox.markAll()
	}
	f.ears.channels.Store(int64(len(f.local)))
}

func (f *feed) watermark(now time.Time, message string) {
	w, err := wire.DecodeWatermark(message)
	if err != nil {
		f.t.log.Debug("redis: a watermark that is none", zap.String("addr", f.addr), zap.Error(err))
		return
	}
	for _, m := range w.Streams {
		if ch := f.local[m.Channel]; ch != nil && ch.kind == eventChannel {
			ch.watermark(now, w.Publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Uncertain: m.Uncertain, Final: w.Final, Epoch: m.Epoch,
				Copy: ch.own.Load() != f,
			})
		}
	}
}

func (f *feed) overflow(now time.Time, name string, d drops) {
	ch := f.local[name]
	if ch == nil || ch.kind != eventChannel {
		return
	}
	if ch.own.Load() != f {
		d.unnumbered = 0 // they come on the channel's own connection too
	}
	ch.overflow(now, d.unnumbered)
}
