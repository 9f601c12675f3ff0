package redis

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/ratelimit"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// Rates of control documents.
var (
	askRate     = ratelimit.Rate{PerSecond: 200, Burst: 200} // documents to one publisher
	askRateAll  = ratelimit.Rate{PerSecond: 2000, Burst: 2000}
	askRateNew  = ratelimit.Rate{PerSecond: 500, Burst: 500}           // to those together that never answered: anybody can make them up
	answerRate  = ratelimit.Rate{PerSecond: 32 << 20, Burst: 16 << 20} // bytes to one subscriber
	answerTotal = ratelimit.Rate{PerSecond: 128 << 20, Burst: 64 << 20}
	readRate    = ratelimit.Rate{PerSecond: 2 << 20, Burst: 2 << 20} // bytes of questions of one subscriber, read or not
	readTotal   = ratelimit.Rate{PerSecond: 8 << 20, Burst: 8 << 20}

	// Of the totals, what subscribers get together that were never seen to listen: anybody can make them up.
	answerOthers = ratelimit.Rate{PerSecond: 64 << 20, Burst: 32 << 20}
	readOthers   = ratelimit.Rate{PerSecond: 4 << 20, Burst: 4 << 20}
)

const (
	ratedParties = 1024
	lookCost     = 16                     // bytes that each number costs its asker that is looked at
	answerAtOnce = 4 << 20                // bytes that one question is answered with
	answerCost   = 256                    // bytes that a question costs its asker, however short the answer
	repairDelay  = 10 * time.Millisecond  // see track.Repair.Delay
	repairPause  = 250 * time.Millisecond // see track.Repair.MaxDelay
	repairDeaf   = time.Second            // see track.Repair.Deaf
)

// repairs asks publishers for what is missing here, and answers subscribers for our own. Its methods do nothing on nil.
type repairs struct {
	t         *Transport
	id        string // of our inbox
	greetings greetings
	views     *topicViews
	question  atomic.Uint64 // the number of the last one
	reminder  atomic.Uint64 // the number of the last one that asks how topics are known

	relisten atomic.Bool   // the control channels may be others now
	wake     chan struct{} // capacity 1: there is something to do

	mu sync.Mutex
	// mu guards what follows.
	asking    ratelimit.Buckets // questions, by publisher
	askingNew ratelimit.Bucket  // those to publishers that never answered
	answering ratelimit.Buckets // bytes, by subscriber
	reading   ratelimit.Buckets // bytes of questions, by subscriber
	listeners ratelimit.Known   // subscribers that listened to their inbox when they were answered
	turn      int               // which node is asked through next
}

func newRepairs(t *Transport) *repairs {
	r := &repairs{
		t: t, id: rand.Text()[:13], wake: make(chan struct{}, 1),
		asking:    ratelimit.Buckets{Each: askRate, All: askRateAll, Parties: ratedParties},
		answering: ratelimit.Buckets{Each: answerRate, All: answerTotal, Parties: ratedParties, Others: answerOthers},
		reading:   ratelimit.Buckets{Each: readRate, All: readTotal, Parties: ratedParties, Others: readOthers},
		listeners: ratelimit.Known{Parties: ratedParties},
	}
	r.answering.Known, r.reading.Known = &r.listeners, &r.listeners
	r.greetings.init(r.signal)
	r.views = newTopicViews(r.signal)
	// Below 2⁵³ with room, so that every JSON reader gets it right; and no stranger guesses it.
	r.question.Store(mathrand.Uint64N(1 << 48))
	return r
}

// tracking is how channels track what is missing.
func (r *repairs) tracking() *track.Repair {
	cfg := &r.t.cfg.Repair
	return &track.Repair{
		Timeout: cfg.Timeout, Delay: repairDelay, MaxDelay: repairPause, Deaf: repairDeaf,
		MaxHeldBytes: cfg.HeldBytes, Budget: track.NewBudget(cfg.HoldBytes),
		Askable: wire.IsParty, Random: mathrand.Float64,
	}
}

func (r *repairs) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// listenSoon looks anew at what is to be listened on. It never blocks.
func (r *repairs) listenSoon() {
	if r != nil {
		r.relisten.Store(true)
		r.signal()
	}
}

// listenFirst has our inbox wanted at once, so that the first Subscribe goes out with it.
func (r *repairs) listenFirst() {
	if r != nil && r.t.registry.inboxes.Load() == 0 {
		r.listen(time.Now())
	}
}

// listen makes the control channels what they should be.
func (r *repairs) listen(now time.Time) {
	subscriber := ""
	if r.t.registry.subscribes() {
		subscriber = r.id
	}
	snapshot := r.t.topology.snapshot.Load()
	r.t.registry.listen(now, controls(snapshot, subscriber, r.t.outbox.publishers()), keepControl)
}

// serve greets publishers and keeps the control channels right until ctx ends.
func (r *repairs) serve(ctx context.Context) error {
	if r == nil {
		<-ctx.Done()
		return nil
	}
	sweep := time.NewTicker(keepControl)
	defer sweep.Stop()
	again := time.NewTimer(promptly)
	defer again.Stop()
	remind := time.NewTimer(remindFirst)
	defer remind.Stop()
	r.relisten.Store(true)
	r.greetings.attend(true)
	defer r.greetings.attend(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-again.C:
		case <-remind.C:
		case now := <-sweep.C:
			r.listen(now)
			r.t.outbox.forgetOld(now)
			r.t.couriers.keep(func(addr string) bool {
				_, known := r.t.topology.snapshot.Load().NodeShard(addr)
				return known
			})
		}
		if r.relisten.Swap(false) {
			r.listen(time.Now())
		}
		due, next := r.views.due(time.Now())
		if due {
			r.remind()
		}
		if !next.IsZero() {
			remind.Reset(max(promptly, time.Until(next)))
		}
		retry := r.sendGreetings(time.Now())
		switch alarm := r.greetings.setAlarm(); {
		case retry:
			again.Reset(greetRetry)
		case !alarm.IsZero():
			again.Reset(max(promptly, time.Until(alarm)))
		}
	}
}

// control takes in what arrived on a control channel.
func (r *repairs) control(now time.Time, f *feed, ch *channel, message string) {
	if r == nil {
		return
	}
	var err error
	switch ch.kind {
	case inboxChannel:
		err = r.answered(now, message)
	case asksChannel:
		err = r.asked(now, f, ch, message)
	case helloChannel:
		err = r.helloed(now, f, ch, message)
	case eventChannel, watermarkChannel:
	}
	if err != nil {
		r.t.log.Debug("redis: a control document that is none", zap.String("channel", ch.name), zap.Error(err))
	}
}

// through returns where to ask: the nodes on which our inbox is confirmed and that can be sent to have it in turn.
func (r *repairs) through() (p post, c *courier, found bool) {
	posts, _ := r.t.registry.posts()
	r.mu.Lock()
	r.turn++
	turn := r.turn
	r.mu.Unlock()
	slices.SortFunc(posts, func(a, b post) int { return a.slot - b.slot })
	for i := range posts {
		p = posts[(turn+i)%len(posts)]
		if c = r.t.couriers.at(p.addr); c.isUp() {
			return p, c, true
		}
	}
	return post{}, nil, false
}

// missing is what one channel misses of a publisher.
type missing struct {
	ch      *channel
	numbers seqset.Set
}

// ask asks publishers for what is missing in the channels.
func (r *repairs) ask(now time.Time, channels map[*channel]struct{}) {
	if r == nil {
		return
	}
	n := r.question.Add(1)
	known, others := make(map[string][]missing), make(map[string][]missing)
	for ch := range channels {
		ch.ask(now, n, func(publisher string, numbers seqset.Set, answers bool) {
			if answers {
				known[publisher] = append(known[publisher], missing{ch: ch, numbers: numbers})
			} else {
				others[publisher] = append(others[publisher], missing{ch: ch, numbers: numbers})
			}
		})
	}
	for publisher, all := range known {
		all = append(all, others[publisher]...) // one channel may know what another does not
		delete(others, publisher)
		r.sendAll(now, publisher, n, all)
	}
	for publisher, all := range others {
		r.mu.Lock()
		may := r.askingNew.Take(now, askRateNew, 1)
		r.mu.Unlock()
		if may {
			r.sendAll(now, publisher, n, all)
		}
	}
}

// sendAll sends as many questions as it takes.
func (r *repairs) sendAll(now time.Time, publisher string, n uint64, all []missing) {
	for len(all) > 0 {
		k := min(len(all), wire.MaxAsked)
		r.send(now, publisher, n, all[:k])
		all = all[k:]
	}
}

// send sends one question. What cannot be sent is asked again later.
func (r *repairs) send(now time.Time, publisher string, n uint64, all []missing) {
	if !r.mayAsk(now, publisher) {
		return
	}
	tell := func(heard bool) {
		at := time.Now()
		for _, m := range all {
			m.ch.askedFor(at, publisher, heard)
		}
	}
	p, c, found := r.through()
	if !found {
		if r.t.couriers.anyUp(r.t.topology.isPrimary) { // the server can be written to, and does not let us have an inbox
			tell(true)
		}
		return
	}
	ask := wire.Ask{Subscriber: r.id, N: n}
	for _, m := range all {
		ask.Streams = append(ask.Streams, wire.Missing{Channel: m.ch.name, Numbers: m.numbers.String()})
	}
	doc, err := wire.AppendAsk(nil, ask)
	if err != nil {
		r.t.log.Warn("redis: not asked", zap.Error(err))
		return
	}
	c.put(letter{channel: wire.AskChannel(p.slot, publisher), doc: doc, sent: func(listeners int, err error) {
		if err != nil {
			return
		}
		if tell(listeners > 0); listeners == 0 {
			r.seekLast(publisher, all)
		}
	}})
}

func (r *repairs) mayAsk(now time.Time, publisher string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking.Left(now, publisher) <= 0 {
		return false
	}
	r.asking.Spend(now, publisher, 1)
	return true
}

// errNoAnswer is what an answer is that does not say to what.
var errNoAnswer = errors.New("an answer without a question")

// awaits reports whether the question was asked, and something waits for its answer still.
func (r *repairs) awaits(to wire.Reply) bool {
	if to.Channel == "" {
		return r.greetings.awaits(to.N) || to.N == r.reminder.Load()
	}
	ch := r.t.registry.events(to.Channel)
	return ch != nil && ch.awaits(to.Publisher, to.N)
}

// answered takes in an answer in our inbox. One that nobody waits for is not decoded.
func (r *repairs) answered(now time.Time, message string) error {
	to, ok := wire.AnswersTo(message)
	if !ok {
		return errNoAnswer
	}
	if !r.awaits(to) {
		return nil
	}
	a, err := wire.DecodeAnswer(message)
	if err != nil {
		return err
	}
	if a.Channel == "" {
		r.t.tellMismatches(r.views.compare(a))
		r.here(now, a)
		return nil
	}
	ch := r.t.registry.events(a.Channel)
	if ch == nil {
		return nil
	}
	void, err := seqset.Parse(a.Void)
	if err != nil {
		return err
	}
	open, err := seqset.Parse(a.Open)
	if err != nil {
		return err
	}
	answer := track.Answer{
		N: a.N, Assigned: a.Assigned, Gone: a.Gone, Void: void, Open: open, Uncertain: a.Uncertain, Epoch: a.Epoch,
		Age: time.Duration(a.AgeMillis) * time.Millisecond,
	}
	for _, raw := range a.Events {
		if env, read, ok := ch.decode(string(raw)); ok {
			answer.Events = append(answer.Events, track.Event{Env: env, Uncertain: read.Uncertain})
		}
	}
	ch.answer(now, a.Publisher, answer)
	return nil
}
