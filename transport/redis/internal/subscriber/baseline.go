package subscriber

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

const (
	// baselineWait is how long publishers are given to say where they stand.
	baselineWait = 250 * time.Millisecond
	// baselineRetry is when a baseline request is tried again that could not be sent, and baselineSendLimit for how long it is.
	baselineRetry     = 10 * time.Millisecond
	baselineSendLimit = 2 * time.Second
	// baselineMaxUnsent is how many Subscribe calls in a row wait for what cannot be sent.
	baselineMaxUnsent = 3
	// baselineTries is how many times a question is sent that not all who heard it have answered in time, or that nobody
	// heard although there are publishers: what takes our connections away takes theirs too.
	baselineTries = 3
	// baselineInFlight is how many questions may be on their way to servers. Beside another only a full one is sent: what is
	// confirmed meanwhile goes together.
	baselineInFlight = 8
)

// baselines are questions to all publishers for their positions on channels that were just confirmed: what is missing since
// shows at once, and a publisher that nothing was heard of yet is known.
type baselines struct {
	mu sync.Mutex
	// mu guards what follows, and channel.baseline. It is taken last.
	serving  bool                        // somebody looks when it is time
	pending  []*channel                  // to be asked for its baseline, and in no question
	open     map[uint64]*baselineRequest // sent, by question
	sending  int                         // of open, those on their way to the server
	unsent   int                         // how many waited in a row for what could not be sent
	pause    time.Time                   // until when nothing is sent: a server has refused it
	deadline time.Time                   // when something is over at the earliest; zero: nothing is under way
	timer    time.Time                   // when serve looks; zero: when it is woken
	wake     func()                      // serve
}

// baselineState is what there is of a channel that is to be asked for its baseline, or was not answered yet.
type baselineState struct {
	question uint64            // the one that the channel is in; 0: it is pending
	since    time.Time         // pending since
	known    bool              // there are publishers, so that somebody should hear it
	tries    int               // how many times it was sent
	fresh    bool              // it was not asked about since it was confirmed: who subscribes waits for it
	waiters  *reconcile.Waiter // Subscribe calls that do
	limit    time.Time         // how long
}

// baselineRequest is one question.
type baselineRequest struct {
	channels []*channel
	byName   map[string]*channel // from the first answer on
	sent     time.Time
	sending  bool // see baselines.sending
	want     int  // how many processes listened; -1: not known yet
	got      int  // how many have said all
	tries    int  // how many times the channel was asked for that was most often, this one included
	known    bool // of one of them
}

func (g *baselines) init(wake func()) { g.open, g.wake = make(map[uint64]*baselineRequest), wake }

// requestBaseline has publishers asked where they stand on a channel when sendBaselines is called next. It reports whether waiters
// will be settled when they have said it, or not in time. It never blocks; the caller may hold subscriptions.mu.
func (r *nackClient) requestBaseline(now time.Time, ch *channel, waiters *reconcile.Waiter) bool {
	if r == nil || ch.Kind() != reconcile.Event {
		return false
	}
	g, known := &r.baselines, ch.hasPublishers()
	g.mu.Lock()
	defer g.mu.Unlock()
	c := ch.baseline
	switch {
	case c == nil:
		c = &baselineState{}
		ch.baseline = c
		g.pending = append(g.pending, ch)
	case c.question != 0:
		g.pending = append(g.pending, ch)
	}
	c.question, c.since, c.known, c.tries, c.fresh = 0, now, known, 0, true
	g.noteDeadlineLocked(now.Add(baselineWait))
	return g.waitLocked(now, c, waiters)
}

// joinBaseline has a Subscribe wait too if the channel was confirmed a moment ago, and reports whether.
func (r *nackClient) joinBaseline(now time.Time, ch *channel, w *reconcile.Waiter) bool {
	if r == nil || ch.Kind() != reconcile.Event {
		return false
	}
	g := &r.baselines
	g.mu.Lock()
	defer g.mu.Unlock()
	return ch.baseline != nil && ch.baseline.fresh && g.waitLocked(now, ch.baseline, w)
}

func (g *baselines) waitLocked(now time.Time, c *baselineState, waiters *reconcile.Waiter) bool {
	if !g.serving || g.unsent >= baselineMaxUnsent {
		return false
	}
	if c.waiters == nil {
		c.limit = now.Add(baselineWait)
	}
	c.waiters = reconcile.JoinWaiters(waiters, c.waiters)
	return true
}

// noteDeadlineLocked notes that something may be over at a time.
func (g *baselines) noteDeadlineLocked(at time.Time) {
	if g.deadline.IsZero() || at.Before(g.deadline) {
		g.deadline = at
	}
	if g.timer.IsZero() || at.Before(g.timer) {
		g.wake()
	}
}

// sendBaselines sends what is pending and ends what has waited for long enough. It reports whether it is to be called
// again soon: something could not be sent.
func (r *nackClient) sendBaselines(now time.Time) (again bool) {
	if r == nil {
		return false
	}
	g := &r.baselines
	reconcile.Release(g.expire(now))
	for g.ready(now) {
		p, c, found := r.replyPath(connkey.Ordinary)
		if !found {
			return true
		}
		n := r.question.Add(1)
		hello := g.begin(now, n, r.ids[connkey.Ordinary])
		if len(hello.Channels) == 0 { // somebody else was faster
			return false
		}
		hello.Topics = r.views.of(hello.Channels)
		doc, err := wire.AppendBaselineRequest(nil, hello)
		if err == nil && c.Send(control.Message{Channel: wire.BaselineChannel(p.slot), Doc: doc, Sent: func(listeners int, err error) {
			r.views.onSent(err)
			if g.onSent(time.Now(), n, listeners, err) {
				r.signal()
			}
		}}) {
			continue
		}
		if err != nil {
			r.s.Log.Warn("redis: baseline request not sent", zap.Error(err))
		}
		g.onSent(now, n, 0, control.ErrNotSent)
		return true
	}
	return false
}

// sendBaselinesNow is for who has called requestBaseline. What cannot be sent is left to serve.
func (r *nackClient) sendBaselinesNow(now time.Time) {
	if r.sendBaselines(now) {
		r.signal()
	}
}

// setTimer returns when serve has to look next; zero: when it is woken.
func (g *baselines) setTimer() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.timer = g.deadline
	return g.timer
}

// ready reports whether a question is to be sent.
func (g *baselines) ready(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readyLocked(now)
}

func (g *baselines) readyLocked(now time.Time) bool {
	n := len(g.pending)
	return !now.Before(g.pause) && (n > 0 && g.sending == 0 || n >= wire.MaxBaselineChannels && g.sending < baselineInFlight)
}

// begin puts a question together. It is empty if there is nothing to be sent any more.
func (g *baselines) begin(now time.Time, n uint64, subscriber string) wire.BaselineRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	hello := wire.BaselineRequest{Subscriber: subscriber, N: n}
	if !g.readyLocked(now) {
		return hello
	}
	count := min(len(g.pending), wire.MaxBaselineChannels)
	one := &baselineRequest{channels: make([]*channel, 0, count), sent: now, want: -1}
	hello.Channels = make([]string, 0, count)
	for _, ch := range g.pending[:count] {
		c := ch.baseline
		c.question = n
		one.tries, one.known = max(one.tries, c.tries+1), one.known || c.known
		one.channels = append(one.channels, ch)
		hello.Channels = append(hello.Channels, ch.Name())
	}
	clear(g.pending[:count])
	if g.pending = g.pending[count:]; len(g.pending) == 0 {
		g.pending = nil
	}
	g.open[n] = one
	one.sending = true
	g.sending++
	g.noteDeadlineLocked(now.Add(baselineWait))
	return hello
}

// onSent notes how many heard a question, or that it is to be sent again. It reports whether there is something to send.
func (g *baselines) onSent(now time.Time, n uint64, listeners int, err error) (ready bool) {
	g.mu.Lock()
	var over *reconcile.Waiter
	if one := g.open[n]; one != nil {
		g.arrivedLocked(one)
		if err != nil {
			delete(g.open, n)
			g.unsentLocked(now, n, one, err)
		} else {
			g.unsent = 0
			one.want = listeners
			over = g.completeLocked(n)
		}
	}
	ready = g.readyLocked(now)
	g.mu.Unlock()
	reconcile.Release(over)
	return ready
}

func (g *baselines) arrivedLocked(one *baselineRequest) {
	if one.sending {
		one.sending = false
		g.sending--
	}
}

// unsentLocked has what could not be sent wait for another question. What a server refuses is not tried for ever: no
// permission is no fault that passes.
func (g *baselines) unsentLocked(now time.Time, n uint64, one *baselineRequest, err error) {
	_, refused := conn.ReplyText(err)
	for _, ch := range one.channels {
		if c := ch.baseline; c != nil && c.question == n {
			c.question, c.tries = 0, one.tries-1
			if !refused {
				c.since = one.sent
			}
			g.pending = append(g.pending, ch)
		}
	}
	g.pause = now.Add(baselineRetry)
	g.noteDeadlineLocked(g.pause)
}

func (g *baselines) completeLocked(n uint64) (over *reconcile.Waiter) {
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
func (g *baselines) releaseLocked(n uint64, one *baselineRequest) (over *reconcile.Waiter) {
	for _, ch := range one.channels {
		if c := ch.baseline; c != nil && c.question == n {
			over = reconcile.JoinWaiters(c.waiters, over)
			ch.baseline = nil
		}
	}
	return over
}

// expire ends what has waited for long enough, and returns who waited.
func (g *baselines) expire(now time.Time) (over *reconcile.Waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.deadline.IsZero() || now.Before(g.deadline) {
		return nil
	}
	g.deadline = time.Time{}
	for n, one := range g.open {
		due := one.sent.Add(baselineWait)
		if now.Before(due) {
			over = reconcile.JoinWaiters(g.timeoutLocked(now, one.channels, n), over)
			g.noteDeadlineLocked(due)
			continue
		}
		g.arrivedLocked(one) // a server that hangs does not keep the others from being asked
		delete(g.open, n)
		over = reconcile.JoinWaiters(g.releaseLocked(n, one), over)
		if one.tries < baselineTries && (one.want < 0 || one.got < one.want || one.want == 0 && one.known) {
			g.retryLocked(one)
		}
	}
	kept := g.pending[:0]
	for _, ch := range g.pending {
		c := ch.baseline
		if due := c.since.Add(baselineSendLimit); now.Before(due) {
			kept = append(kept, ch)
			g.noteDeadlineLocked(due)
		} else {
			over = reconcile.JoinWaiters(c.waiters, over)
			ch.baseline = nil
		}
	}
	clear(g.pending[len(kept):])
	g.pending = kept
	return reconcile.JoinWaiters(g.timeoutLocked(now, kept, 0), over)
}

// timeoutLocked returns who has waited for long enough for channels that are in a question, or pending if that is 0.
func (g *baselines) timeoutLocked(now time.Time, channels []*channel, question uint64) (over *reconcile.Waiter) {
	for _, ch := range channels {
		switch c := ch.baseline; {
		case c == nil || c.question != question || c.waiters == nil:
		case now.Before(c.limit):
			g.noteDeadlineLocked(c.limit)
		default:
			if question == 0 { // it could not even be sent
				g.unsent++
			}
			over = reconcile.JoinWaiters(c.waiters, over)
			c.waiters = nil
		}
	}
	return over
}

// retryLocked has a question asked once more that was not answered, of the channels that were not asked about since. Nobody
// waits for a repetition.
func (g *baselines) retryLocked(one *baselineRequest) {
	for _, ch := range one.channels {
		if ch.baseline == nil {
			ch.baseline = &baselineState{since: one.sent.Add(baselineWait), known: one.known, tries: one.tries}
			g.pending = append(g.pending, ch)
		}
	}
}

// setServing says whether serve runs: while it does not, nobody waits, because nobody would end it.
func (g *baselines) setServing(serving bool) {
	g.mu.Lock()
	g.serving = serving
	var over *reconcile.Waiter
	if !serving {
		for _, one := range g.open {
			over = reconcile.JoinWaiters(takeWaiters(one.channels), over)
		}
		over = reconcile.JoinWaiters(takeWaiters(g.pending), over)
	}
	g.mu.Unlock()
	reconcile.Release(over)
}

func takeWaiters(channels []*channel) (over *reconcile.Waiter) {
	for _, ch := range channels {
		if c := ch.baseline; c != nil {
			over = reconcile.JoinWaiters(c.waiters, over)
			c.waiters = nil
		}
	}
	return over
}
