package subscriber

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// session is one incarnation of a reader: a connection and what arrives on it.
type session struct {
	reconcile.Session

	s      *Subscriber
	buffer *receiveBuffer
	wake   chan struct{} // capacity 1: there are commands for it
	echo   heartbeatEcho

	lag lagWarning

	mu sync.Mutex
	// mu guards what follows. It is held while what arrived is handled, so that it is in order.
	channels map[string]*channel // those confirmed on this connection
	spare    []pushEvent
	ended    bool      // nothing is handled any more
	warnedAt time.Time // when it was logged last that control messages were dropped
}

func newSession(s *Subscriber, key connkey.Key) *session {
	f := &session{
		Session: reconcile.Session{Key: key}, s: s, buffer: newReceiveBuffer(s.ReceiveBytes),
		wake: make(chan struct{}, 1), channels: make(map[string]*channel),
	}
	f.Owner = f
	f.echo.init()
	f.lag.log, f.lag.addr = s.Log, key.Addr
	return f
}

func (f *session) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// What the connection's reader handles itself, at most: for the time that takes, the server keeps what comes, and cuts off
// who lets it keep too much.
const (
	fewPushes = 32
	fewBytes  = 16 << 10
)

// onIdle is called by the connection's reader before it waits for more. A little it handles itself, which saves waking
// somebody for each event where they come one by one; while there is much, it goes on reading at the same time.
func (f *session) onIdle() {
	switch n, size := f.buffer.holds(); {
	case n == 0:
	case n <= fewPushes && size <= fewBytes && f.mu.TryLock():
		f.drain()
		f.mu.Unlock()
	default:
		f.buffer.signal()
	}
}

// consume handles what arrives and the reader does not, until closed is closed and everything before was handled.
func (f *session) consume(closed <-chan struct{}) {
	for ended := false; !ended; {
		select {
		case <-f.buffer.wake:
		case <-closed:
			ended = true
		}
		f.mu.Lock()
		f.drain()
		for f.drainControl() && ended {
		}
		f.ended = ended
		f.mu.Unlock()
	}
}

// drain handles what has arrived, in order. The caller holds mu.
func (f *session) drain() {
	if f.ended {
		return
	}
	queue, held, dropped := f.buffer.swap(f.spare)
	now := time.Now()
	if held > f.buffer.limit/2 {
		f.lag.full(now, held, f.buffer.limit)
	}
	for i := 0; i < len(queue); i++ {
		if queue[i].kind != pushSubscribed {
			f.handle(now, &queue[i])
			continue
		}
		first := i
		for i+1 < len(queue) && i-first < fewConfirmed && queue[i+1].kind == pushSubscribed {
			i++
		}
		f.subscribed(now, queue[first:i+1])
	}
	for name, d := range dropped {
		f.overflow(now, name, d)
	}
	f.buffer.handled()
	if f.spare = queue; cap(queue) > maxSpare {
		f.spare = nil
	}
}

// drainControl handles some of what is no event, in order, and reports whether there was any. The caller holds mu.
func (f *session) drainControl() bool {
	if f.ended {
		return false
	}
	queue, dropped := f.buffer.takeControl()
	now := time.Now()
	for i := range queue {
		f.handle(now, &queue[i])
	}
	if dropped > 0 && now.Sub(f.warnedAt) >= tellRefused {
		f.warnedAt = now
		f.s.Log.Warn("redis: control messages arrive faster than they are handled; some were dropped and will be sent again",
			zap.String("addr", f.Addr), zap.Uint64("dropped", dropped))
	}
	return len(queue) > 0
}

// maxSpare is the largest queue that is kept for the next burst, in entries.
const maxSpare = 4096

func (f *session) handle(now time.Time, h *pushEvent) {
	switch h.kind {
	case pushMessage:
		ch := f.channels[h.channel]
		f.echo.heard.Add(1)
		switch {
		case ch == nil: // the probe, or left, or never asked for
			f.echo.listen(h.channel, h.message)
		case ch.Kind() == reconcile.Event:
			ch.message(now, f, h.message)
		case ch.Kind() == reconcile.Watermark:
			f.watermark(now, h.message)
		default:
			f.s.nacks.onControl(now, f, ch, h.message)
		}
	case pushSubscribed: // see subscribed
	case pushUnsubscribed:
		f.echo.confirmed(h.channel, false)
		delete(f.channels, h.channel)
		f.echo.channels.Store(int64(len(f.channels)))
		f.s.subscriptions.unsubscribed(f, h.channel)
	}
}

// fewConfirmed is how many confirmations are taken in together, at most.
const fewConfirmed = 128

// subscribed takes in confirmations.
func (f *session) subscribed(now time.Time, all []pushEvent) {
	questions := false
	f.s.subscriptions.confirmed(f, all, now, func(ch *channel) {
		f.channels[ch.Name()] = ch
		questions = questions || ch.Kind() == reconcile.Baseline
	})
	f.s.nacks.sendBaselinesNow(now)
	if questions {
		f.s.Answerer.HastenWatermarks()
	}
	f.echo.channels.Store(int64(len(f.channels)))
}

func (f *session) watermark(now time.Time, message string) {
	w, err := wire.DecodeWatermark(message)
	if err != nil {
		f.s.Log.Debug("redis: invalid watermark", zap.String("addr", f.Addr), zap.Error(err))
		return
	}
	for _, m := range w.Streams {
		if ch := f.channels[m.Channel]; ch != nil && ch.Kind() == reconcile.Event {
			ch.watermark(now, w.Publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Uncertain: m.Uncertain, Final: w.Final, Epoch: m.Epoch,
				Copy: ch.source.Load() != f,
			})
		}
	}
}

func (f *session) overflow(now time.Time, name string, d drops) {
	ch := f.channels[name]
	if ch == nil || ch.Kind() != reconcile.Event {
		return
	}
	if ch.source.Load() != f {
		d.unnumbered = 0 // they come on the channel's own connection too
	}
	ch.overflow(now, d.unnumbered)
}
