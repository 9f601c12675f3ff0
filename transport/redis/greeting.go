package redis

import (
	"context"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

const (
	// greetWait is how long publishers are given to say where they stand.
	greetWait = 250 * time.Millisecond
	// greetRetry is when a greeting is tried again that could not be sent, and greetPatience for how long it is.
	greetRetry    = 10 * time.Millisecond
	greetPatience = 2 * time.Second
	// greetInVain is how many times in a row Subscribe waits for what cannot be sent.
	greetInVain = 3
)

// greetings are questions to all publishers where they stand on channels that were just confirmed: what is missing since
// shows at once, and a publisher that nothing was heard of yet is known.
type greetings struct {
	mu sync.Mutex
	// mu guards what follows. It is taken last.
	pending map[*channel]time.Time // to be greeted, since when
	open    map[uint64]*greeting   // sent, by question
	inside  map[*channel]*waiting  // channels that were not greeted yet
	sending bool                   // one is on its way to the server: the next are put together meanwhile
	vain    int                    // how many in a row could not be sent
}

// waiting is for a channel's greeting. Each has a signal of its own: when ten thousand wait and are answered in twenty
// questions, a common one would wake all of them twenty times.
type waiting struct {
	question uint64        // the one that the channel is in; 0: it is pending
	ended    chan struct{} // closed when the channel was greeted, or will not be; nil: nobody waits
}

// greeting is one question.
type greeting struct {
	channels map[string]*channel
	sent     time.Time
	want     int // how many processes listened; -1: not known yet
	got      int // how many have said all
}

func (g *greetings) init() {
	g.pending, g.inside = make(map[*channel]time.Time), make(map[*channel]*waiting)
	g.open = make(map[uint64]*greeting)
}

// greet has publishers asked where they stand on a channel. It never blocks; the caller may hold registry.mu.
func (r *repairs) greet(now time.Time, ch *channel) {
	if r == nil || ch.kind != eventChannel {
		return
	}
	g := &r.greetings
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending[ch] = now
	if w := g.inside[ch]; w != nil {
		w.question = 0
	} else {
		g.inside[ch] = new(waiting)
	}
	r.signal()
}

// greeted waits until publishers have said where they stand on the channels, but not for long.
func (r *repairs) greeted(ctx context.Context, channels []*channel) {
	if r == nil {
		return
	}
	ended, done := r.greetings.look(channels)
	if done {
		return
	}
	limit := time.NewTimer(greetWait)
	defer limit.Stop()
	for ; !done; ended, done = r.greetings.look(channels) {
		select {
		case <-ended:
		case <-limit.C:
			r.greetings.inVain(channels)
			return
		case <-ctx.Done():
			return
		}
	}
}

// inVain notes that a Subscribe has waited for what could not even be sent.
func (g *greetings) inVain(channels []*channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, ch := range channels {
		if _, pending := g.pending[ch]; pending {
			g.vain++
			return
		}
	}
}

// look reports whether nothing is to be waited for, and what to wait for.
func (g *greetings) look(channels []*channel) (ended <-chan struct{}, done bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.vain >= greetInVain {
		return nil, true
	}
	for _, ch := range channels {
		if w := g.inside[ch]; w != nil {
			if w.ended == nil {
				w.ended = make(chan struct{})
			}
			return w.ended, false
		}
	}
	return nil, true
}

// sendGreetings sends what is pending and ends what has waited for long enough. It returns when to be called again
// unless something happens before; 0: not at all.
func (r *repairs) sendGreetings(now time.Time) (next time.Duration) {
	g := &r.greetings
	g.mu.Lock()
	g.expireLocked(now)
	if len(g.open) > 0 {
		next = greetWait
	}
	if len(g.pending) == 0 || g.sending {
		g.mu.Unlock()
		return next
	}
	g.mu.Unlock()
	p, c, found := r.through()
	if !found {
		return greetRetry
	}
	n := r.question.Add(1)
	doc, err := wire.AppendHello(nil, g.begin(now, n, r.id))
	if err == nil && c.put(letter{channel: wire.HelloChannel(p.slot), doc: doc, sent: func(listeners int, err error) {
		g.told(n, listeners, err)
		r.signal()
	}}) {
		return greetWait
	}
	if err != nil {
		r.t.log.Warn("redis: publishers not greeted", zap.Error(err))
	}
	g.told(n, 0, errNoCourier)
	return greetRetry
}

// expireLocked ends what has waited for long enough.
func (g *greetings) expireLocked(now time.Time) {
	for n, one := range g.open {
		if now.Sub(one.sent) >= greetWait {
			g.endLocked(n)
		}
	}
	pending := g.pending // leaveLocked may replace it
	for ch, since := range pending {
		if now.Sub(since) >= greetPatience {
			delete(pending, ch)
			g.leaveLocked(ch)
		}
	}
}

// begin puts a question together.
func (g *greetings) begin(now time.Time, n uint64, subscriber string) wire.Hello {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := &greeting{channels: make(map[string]*channel), sent: now, want: -1}
	hello := wire.Hello{Subscriber: subscriber, N: n}
	for ch := range g.pending {
		if len(one.channels) == wire.MaxGreeted {
			break
		}
		delete(g.pending, ch)
		if w := g.inside[ch]; w != nil {
			w.question = n
		}
		one.channels[ch.name] = ch
		hello.Channels = append(hello.Channels, ch.name)
	}
	g.open[n] = one
	g.sending = true
	return hello
}

// told notes how many heard a question, or that it is to be sent again.
func (g *greetings) told(n uint64, listeners int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sending = false
	one := g.open[n]
	if one == nil {
		return
	}
	if err != nil {
		delete(g.open, n)
		for _, ch := range one.channels {
			if w := g.inside[ch]; w != nil && w.question == n {
				w.question = 0
				g.pending[ch] = one.sent
			}
		}
		return
	}
	g.vain = 0
	one.want = listeners
	g.completeLocked(n)
}

func (g *greetings) completeLocked(n uint64) {
	if one := g.open[n]; one.want >= 0 && one.got >= one.want {
		g.endLocked(n)
	}
}

// endLocked ends the waiting for a question's answers.
func (g *greetings) endLocked(n uint64) {
	for _, ch := range g.open[n].channels {
		if w := g.inside[ch]; w != nil && w.question == n {
			g.leaveLocked(ch)
		}
	}
	delete(g.open, n)
}

// leaveLocked ends the waiting for a channel's greeting.
func (g *greetings) leaveLocked(ch *channel) {
	if w := g.inside[ch]; w != nil {
		if w.ended != nil {
			close(w.ended)
		}
		delete(g.inside, ch)
	}
	if len(g.inside) == 0 && len(g.pending) == 0 { // maps do not shrink
		g.pending, g.inside = make(map[*channel]time.Time), make(map[*channel]*waiting)
	}
}

// here takes in where a publisher stands.
func (r *repairs) here(now time.Time, a wire.Answer) {
	g := &r.greetings
	g.mu.Lock()
	one := g.open[a.N]
	g.mu.Unlock()
	if one == nil {
		return // nobody asked, or it took too long
	}
	for _, m := range a.Streams {
		if ch := one.channels[m.Channel]; ch != nil {
			ch.watermark(now, a.Publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Asked: one.sent, Uncertain: m.Uncertain,
				Epoch: m.Epoch, Assigned: m.Assigned,
			})
		}
	}
	if !a.Done {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open[a.N] == one {
		one.got++
		g.completeLocked(a.N)
	}
}
