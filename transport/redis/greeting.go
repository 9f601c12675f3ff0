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
	// greetTries is how many times a question is sent that not all who heard it have answered in time, or that nobody
	// heard although there are publishers: what takes our connections away takes theirs too.
	greetTries = 3
)

// greetings are questions to all publishers where they stand on channels that were just confirmed: what is missing since
// shows at once, and a publisher that nothing was heard of yet is known.
type greetings struct {
	mu sync.Mutex
	// mu guards what follows. It is taken last.
	pending map[*channel]overdue  // to be greeted
	open    map[uint64]*greeting  // sent, by question
	inside  map[*channel]*waiting // channels that were not greeted yet
	sending uint64                // the one on its way to the server: the next are put together meanwhile; 0: none
	vain    int                   // how many in a row could not be sent
}

// waiting is for a channel's greeting. Each has a signal of its own: when ten thousand wait and are answered in twenty
// questions, a common one would wake all of them twenty times.
type waiting struct {
	question uint64        // the one that the channel is in; 0: it is pending
	ended    chan struct{} // closed when the channel was greeted, or will not be; nil: nobody waits
}

// overdue is a channel's greeting that is to be sent.
type overdue struct {
	since time.Time
	known bool // there are publishers, so that somebody should hear it
	tries int  // how many times it was sent
}

// greeting is one question.
type greeting struct {
	channels map[string]*channel
	sent     time.Time
	want     int  // how many processes listened; -1: not known yet
	got      int  // how many have said all
	tries    int  // how many times the channel was asked for that was most often, this one included
	known    bool // of one of them
}

func (g *greetings) init() {
	g.pending, g.inside = make(map[*channel]overdue), make(map[*channel]*waiting)
	g.open = make(map[uint64]*greeting)
}

// greet has publishers asked where they stand on a channel. It never blocks; the caller may hold registry.mu.
func (r *repairs) greet(now time.Time, ch *channel) {
	if r == nil || ch.kind != eventChannel {
		return
	}
	g, known := &r.greetings, ch.heardOf()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending[ch] = overdue{since: now, known: known}
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
	if len(g.pending) == 0 || g.sending != 0 {
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
		if now.Sub(one.sent) < greetWait {
			continue
		}
		g.endLocked(n)
		if g.sending == n { // a server that hangs does not keep the others from being asked
			g.sending = 0
		}
		if one.tries < greetTries && (one.want < 0 || one.got < one.want || one.want == 0 && one.known) {
			g.againLocked(one)
		}
	}
	pending := g.pending // leaveLocked may replace it
	for ch, o := range pending {
		if now.Sub(o.since) >= greetPatience {
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
	for ch, o := range g.pending {
		if len(one.channels) == wire.MaxGreeted {
			break
		}
		delete(g.pending, ch)
		one.tries, one.known = max(one.tries, o.tries+1), one.known || o.known
		if w := g.inside[ch]; w != nil {
			w.question = n
		}
		one.channels[ch.name] = ch
		hello.Channels = append(hello.Channels, ch.name)
	}
	g.open[n] = one
	g.sending = n
	return hello
}

// told notes how many heard a question, or that it is to be sent again.
func (g *greetings) told(n uint64, listeners int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sending == n {
		g.sending = 0
	}
	one := g.open[n]
	if one == nil {
		return
	}
	if err != nil {
		delete(g.open, n)
		for _, ch := range one.channels {
			switch w := g.inside[ch]; {
			case w != nil && w.question == n:
				w.question = 0
				g.pending[ch] = overdue{since: one.sent, known: one.known, tries: one.tries - 1}
			case w == nil && one.tries > 1: // nobody waits for a repetition
				g.pending[ch] = overdue{since: one.sent, known: one.known, tries: one.tries - 1}
			}
		}
		return
	}
	g.vain = 0
	one.want = listeners
	g.completeLocked(n)
}

func (g *greetings) completeLocked(n uint64) {
	switch one := g.open[n]; {
	case one.want == 0 && one.known: // the publishers will be back: it is asked again when it is over
		g.releaseLocked(n)
	case one.want >= 0 && one.got >= one.want:
		g.endLocked(n)
	}
}

// endLocked ends the waiting for a question's answers.
func (g *greetings) endLocked(n uint64) {
	g.releaseLocked(n)
	delete(g.open, n)
}

// releaseLocked ends the waiting of those who wait for a question's answers.
func (g *greetings) releaseLocked(n uint64) {
	for _, ch := range g.open[n].channels {
		if w := g.inside[ch]; w != nil && w.question == n {
			g.leaveLocked(ch)
		}
	}
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
		g.pending, g.inside = make(map[*channel]overdue), make(map[*channel]*waiting)
	}
}

// againLocked has a question asked once more that was not answered, of the channels that were not greeted since.
func (g *greetings) againLocked(one *greeting) {
	for _, ch := range one.channels {
		if _, listed := g.pending[ch]; !listed && g.inside[ch] == nil {
			g.pending[ch] = overdue{since: one.sent.Add(greetWait), known: one.known, tries: one.tries}
		}
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
