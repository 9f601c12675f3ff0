package redis

import (
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
	// greetInVain is how many Subscribe calls in a row wait for what cannot be sent.
	greetInVain = 3
	// greetTries is how many times a question is sent that not all who heard it have answered in time, or that nobody
	// heard although there are publishers: what takes our connections away takes theirs too.
	greetTries = 3
	// greetAtOnce is how many questions may be on their way to servers. Beside another only a full one is sent: what is
	// confirmed meanwhile goes together.
	greetAtOnce = 8
)

// greetings are questions to all publishers where they stand on channels that were just confirmed: what is missing since
// shows at once, and a publisher that nothing was heard of yet is known.
type greetings struct {
	mu sync.Mutex
	// mu guards what follows, and channel.greeting. It is taken last.
	serving bool                 // somebody looks when it is time
	pending []*channel           // to be greeted, and in no question
	open    map[uint64]*greeting // sent, by question
	sending int                  // of open, those on their way to the server
	vain    int                  // how many waited in a row for what could not be sent
	pause   time.Time            // until when nothing is sent: a server has refused it
	lookAt  time.Time            // when something is over at the earliest; zero: nothing is under way
	alarm   time.Time            // when serve looks; zero: when it is woken
	wake    func()               // serve
}

// greeted is what there is of a channel that is to be greeted, or was not answered yet.
type greeted struct {
	question uint64    // the one that the channel is in; 0: it is pending
	since    time.Time // pending since
	known    bool      // there are publishers, so that somebody should hear it
	tries    int       // how many times it was sent
	fresh    bool      // it was not greeted since it was confirmed: who subscribes waits for it
	waiters  *waiter   // Subscribe calls that do
	limit    time.Time // how long
}

// greeting is one question.
type greeting struct {
	channels []*channel
	byName   map[string]*channel // from the first answer on
	sent     time.Time
	onWay    bool // see greetings.sending
	want     int  // how many processes listened; -1: not known yet
	got      int  // how many have said all
	tries    int  // how many times the channel was asked for that was most often, this one included
	known    bool // of one of them
}

func (g *greetings) init(wake func()) { g.open, g.wake = make(map[uint64]*greeting), wake }

// greet has publishers asked where they stand on a channel when sendGreetings is called next. It reports whether waiters
// will be settled when they have said it, or not in time. It never blocks; the caller may hold registry.mu.
func (r *repairs) greet(now time.Time, ch *channel, waiters *waiter) bool {
	if r == nil || ch.kind != eventChannel {
		return false
	}
	g, known := &r.greetings, ch.heardOf()
	g.mu.Lock()
	defer g.mu.Unlock()
	c := ch.greeting
	switch {
	case c == nil:
		c = &greeted{}
		ch.greeting = c
		g.pending = append(g.pending, ch)
	case c.question != 0:
		g.pending = append(g.pending, ch)
	}
	c.question, c.since, c.known, c.tries, c.fresh = 0, now, known, 0, true
	g.lookBy(now.Add(greetWait))
	return g.waitLocked(now, c, waiters)
}

// joins has a Subscribe wait too if the channel was confirmed a moment ago, and reports whether.
func (r *repairs) joins(now time.Time, ch *channel, w *waiter) bool {
	if r == nil || ch.kind != eventChannel {
		return false
	}
	g := &r.greetings
	g.mu.Lock()
	defer g.mu.Unlock()
	return ch.greeting != nil && ch.greeting.fresh && g.waitLocked(now, ch.greeting, w)
}

func (g *greetings) waitLocked(now time.Time, c *greeted, waiters *waiter) bool {
	if !g.serving || g.vain >= greetInVain {
		return false
	}
	if c.waiters == nil {
		c.limit = now.Add(greetWait)
	}
	c.waiters = join(waiters, c.waiters)
	return true
}

// lookBy notes that something may be over at a time.
func (g *greetings) lookBy(at time.Time) {
	if g.lookAt.IsZero() || at.Before(g.lookAt) {
		g.lookAt = at
	}
	if g.alarm.IsZero() || at.Before(g.alarm) {
		g.wake()
	}
}

// sendGreetings sends what is pending and ends what has waited for long enough. It reports whether it is to be called
// again soon: something could not be sent.
func (r *repairs) sendGreetings(now time.Time) (again bool) {
	if r == nil {
		return false
	}
	g := &r.greetings
	settle(g.expire(now))
	for g.ready(now) {
		p, c, found := r.through()
		if !found {
			return true
		}
		n := r.question.Add(1)
		hello := g.begin(now, n, r.id)
		if len(hello.Channels) == 0 { // somebody else was faster
			return false
		}
		hello.Topics = r.views.of(hello.Channels)
		doc, err := wire.AppendHello(nil, hello)
		if err == nil && c.put(letter{channel: wire.HelloChannel(p.slot), doc: doc, sent: func(listeners int, err error) {
			r.views.heard(err)
			if g.told(time.Now(), n, listeners, err) {
				r.signal()
			}
		}}) {
			continue
		}
		if err != nil {
			r.t.log.Warn("redis: publishers not greeted", zap.Error(err))
		}
		g.told(now, n, 0, errNoCourier)
		return true
	}
	return false
}

// sendGreetingsNow is for who has called greet. What cannot be sent is left to serve.
func (r *repairs) sendGreetingsNow(now time.Time) {
	if r.sendGreetings(now) {
		r.signal()
	}
}

// setAlarm returns when serve has to look next; zero: when it is woken.
func (g *greetings) setAlarm() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alarm = g.lookAt
	return g.alarm
}

// ready reports whether a question is to be sent.
func (g *greetings) ready(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readyLocked(now)
}

func (g *greetings) readyLocked(now time.Time) bool {
	n := len(g.pending)
	return !now.Before(g.pause) && (n > 0 && g.sending == 0 || n >= wire.MaxGreeted && g.sending < greetAtOnce)
}

// begin puts a question together. It is empty if there is nothing to be sent any more.
func (g *greetings) begin(now time.Time, n uint64, subscriber string) wire.Hello {
	g.mu.Lock()
	defer g.mu.Unlock()
	hello := wire.Hello{Subscriber: subscriber, N: n}
	if !g.readyLocked(now) {
		return hello
	}
	count := min(len(g.pending), wire.MaxGreeted)
	one := &greeting{channels: make([]*channel, 0, count), sent: now, want: -1}
	hello.Channels = make([]string, 0, count)
	for _, ch := range g.pending[:count] {
		c := ch.greeting
		c.question = n
		one.tries, one.known = max(one.tries, c.tries+1), one.known || c.known
		one.channels = append(one.channels, ch)
		hello.Channels = append(hello.Channels, ch.name)
	}
	clear(g.pending[:count])
	if g.pending = g.pending[count:]; len(g.pending) == 0 {
		g.pending = nil
	}
	g.open[n] = one
	one.onWay = true
	g.sending++
	g.lookBy(now.Add(greetWait))
	return hello
}

// told notes how many heard a question, or that it is to be sent again. It reports whether there is something to send.
func (g *greetings) told(now time.Time, n uint64, listeners int, err error) (ready bool) {
	g.mu.Lock()
	var over *waiter
	if one := g.open[n]; one != nil {
		g.arrivedLocked(one)
		if err != nil {
			delete(g.open, n)
			g.unsentLocked(now, n, one, err)
		} else {
			g.vain = 0
			one.want = listeners
			over = g.completeLocked(n)
		}
	}
	ready = g.readyLocked(now)
	g.mu.Unlock()
	settle(over)
	return ready
}

func (g *greetings) arrivedLocked(one *greeting) {
	if one.onWay {
		one.onWay = false
		g.sending--
	}
}

// unsentLocked has what could not be sent wait for another question. What a server refuses is not tried for ever: no
// permission is no fault that passes.
func (g *greetings) unsentLocked(now time.Time, n uint64, one *greeting, err error) {
	_, refused := replied(err)
	for _, ch := range one.channels {
		if c := ch.greeting; c != nil && c.question == n {
			c.question, c.tries = 0, one.tries-1
			if !refused {
				c.since = one.sent
			}
			g.pending = append(g.pending, ch)
		}
	}
	g.pause = now.Add(greetRetry)
	g.lookBy(g.pause)
}

func (g *greetings) completeLocked(n uint64) (over *waiter) {
	switch one := g.open[n]; {
	case one.want == 0 && one.known: // the publishers will be back: it is asked again when it is over
		return g.releaseLocked(n, one)
	case one.want >= 0 && one.got >= one.want:
		delete(g.open, n)
		return g.releaseLocked(n, one)
	}
	return nil
}

// releaseLocked ends the waiting for a question's answers, and returns who waited.
func (g *greetings) releaseLocked(n uint64, one *greeting) (over *waiter) {
	for _, ch := range one.channels {
		if c := ch.greeting; c != nil && c.question == n {
			over = join(c.waiters, over)
			ch.greeting = nil
		}
	}
	return over
}

// expire ends what has waited for long enough, and returns who waited.
func (g *greetings) expire(now time.Time) (over *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lookAt.IsZero() || now.Before(g.lookAt) {
		return nil
	}
	g.lookAt = time.Time{}
	for n, one := range g.open {
		due := one.sent.Add(greetWait)
		if now.Before(due) {
			over = join(g.letGoLocked(now, one.channels, n), over)
			g.lookBy(due)
			continue
		}
		g.arrivedLocked(one) // a server that hangs does not keep the others from being asked
		delete(g.open, n)
		over = join(g.releaseLocked(n, one), over)
		if one.tries < greetTries && (one.want < 0 || one.got < one.want || one.want == 0 && one.known) {
			g.againLocked(one)
		}
	}
	kept := g.pending[:0]
	for _, ch := range g.pending {
		c := ch.greeting
		if due := c.since.Add(greetPatience); now.Before(due) {
			kept = append(kept, ch)
			g.lookBy(due)
		} else {
			over = join(c.waiters, over)
			ch.greeting = nil
		}
	}
	clear(g.pending[len(kept):])
	g.pending = kept
	return join(g.letGoLocked(now, kept, 0), over)
}

// letGoLocked returns who has waited for long enough for channels that are in a question, or pending if that is 0.
func (g *greetings) letGoLocked(now time.Time, channels []*channel, question uint64) (over *waiter) {
	for _, ch := range channels {
		switch c := ch.greeting; {
		case c == nil || c.question != question || c.waiters == nil:
		case now.Before(c.limit):
			g.lookBy(c.limit)
		default:
			if question == 0 { // it could not even be sent
				g.vain++
			}
			over = join(c.waiters, over)
			c.waiters = nil
		}
	}
	return over
}

// againLocked has a question asked once more that was not answered, of the channels that were not greeted since. Nobody
// waits for a repetition.
func (g *greetings) againLocked(one *greeting) {
	for _, ch := range one.channels {
		if ch.greeting == nil {
			ch.greeting = &greeted{since: one.sent.Add(greetWait), known: one.known, tries: one.tries}
			g.pending = append(g.pending, ch)
		}
	}
}

// attend says whether serve runs: while it does not, nobody waits, because nobody would end it.
func (g *greetings) attend(serving bool) {
	g.mu.Lock()
	g.serving = serving
	var over *waiter
	if !serving {
		for _, one := range g.open {
			over = join(takeWaiters(one.channels), over)
		}
		over = join(takeWaiters(g.pending), over)
	}
	g.mu.Unlock()
	settle(over)
}

func takeWaiters(channels []*channel) (over *waiter) {
	for _, ch := range channels {
		if c := ch.greeting; c != nil {
			over = join(c.waiters, over)
			c.waiters = nil
		}
	}
	return over
}

// here takes in where a publisher stands.
func (r *repairs) here(now time.Time, a wire.Answer) {
	one, channels := r.greetings.asked(a)
	if one == nil {
		return // nobody asked, or it took too long
	}
	for i, m := range a.Streams {
		if ch := channels[i]; ch != nil {
			ch.watermark(now, a.Publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Asked: one.sent, Uncertain: m.Uncertain,
				Epoch: m.Epoch, Assigned: m.Assigned,
			})
		}
	}
	if a.Done {
		r.greetings.answered(a.N, one)
	}
}

// awaits reports whether a question waits for answers.
func (g *greetings) awaits(n uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[n] != nil
}

// asked returns the question that an answer is to, and the channels that its streams are of.
func (g *greetings) asked(a wire.Answer) (one *greeting, channels []*channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one = g.open[a.N]; one == nil || len(a.Streams) == 0 {
		return one, nil
	}
	if one.byName == nil {
		one.byName = make(map[string]*channel, len(one.channels))
		for _, ch := range one.channels {
			one.byName[ch.name] = ch
		}
	}
	channels = make([]*channel, len(a.Streams))
	for i, m := range a.Streams {
		channels[i] = one.byName[m.Channel]
	}
	return one, channels
}

// answered notes that a process has said all.
func (g *greetings) answered(n uint64, one *greeting) {
	g.mu.Lock()
	var over *waiter
	if g.open[n] == one {
		one.got++
		over = g.completeLocked(n)
	}
	g.mu.Unlock()
	settle(over)
}
