package subscriber

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/ratelimit"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
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
)

// nackClient asks publishers for what is missing here, and answers subscribers for our own. Its methods do nothing on nil.
type nackClient struct {
	s         *Subscriber
	ids       []string // of our inboxes, by class
	baselines baselines
	views     *TopicViews
	question  atomic.Uint64 // the number of the last one
	recheck   atomic.Uint64 // the number of the last one that asks how topics are known

	refresh atomic.Bool   // the control channels may be others now
	wake    chan struct{} // capacity 1: there is something to do

	mu sync.Mutex
	// mu guards what follows.
	asking    ratelimit.Buckets // questions, by publisher
	askingNew ratelimit.Bucket  // those to publishers that never answered
	answering ratelimit.Buckets // bytes, by subscriber
	reading   ratelimit.Buckets // bytes of questions, by subscriber
	listeners ratelimit.Known   // subscribers that listened to their inbox when they were answered
	turn      int               // which node is asked through next
}

func newNackClient(s *Subscriber) *nackClient {
	r := &nackClient{
		s: s, ids: make([]string, s.Classes.Len()), wake: make(chan struct{}, 1),
		asking:    ratelimit.Buckets{Each: askRate, All: askRateAll, Parties: ratedParties},
		answering: ratelimit.Buckets{Each: answerRate, All: answerTotal, Parties: ratedParties, Others: answerOthers},
		reading:   ratelimit.Buckets{Each: readRate, All: readTotal, Parties: ratedParties, Others: readOthers},
		listeners: ratelimit.Known{Parties: ratedParties},
	}
	for class := range r.ids {
		r.ids[class] = rand.Text()[:13]
	}
	r.answering.Known, r.reading.Known = &r.listeners, &r.listeners
	r.baselines.init(r.signal)
	r.views = newTopicViews(r.signal)
	// Below 2⁵³ with room, so that every JSON reader gets it right; and no forger guesses it.
	r.question.Store(mathrand.Uint64N(1 << 48))
	return r
}

// tracking is how channels track what is missing.
func (r *nackClient) tracking() *track.Repair {
	cfg := &r.s.Repair
	return &track.Repair{
		Timeout: cfg.Timeout, Delay: repairDelay, MaxDelay: repairPause, Deaf: cfg.Timeout * 2 / 5,
		MaxHeldBytes: cfg.HeldBytes, Budget: track.NewBudget(cfg.HoldBytes),
		Askable: wire.IsParty, Random: mathrand.Float64,
	}
}

func (r *nackClient) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// refreshControlChannels looks anew at what is to be listened on. It never blocks.
func (r *nackClient) refreshControlChannels() {
	if r != nil {
		r.refresh.Store(true)
		r.signal()
	}
}

// ensureInbox has our inbox for a topic wanted at once, so that its first Subscribe goes out with it.
func (r *nackClient) ensureInbox(topic string) {
	if r == nil {
		return
	}
	inboxes := r.s.subscriptions.inboxes
	if inboxes[connkey.Ordinary].Load() == 0 || inboxes[r.s.Classes.Of(topic)].Load() == 0 {
		r.setControlChannels(time.Now())
	}
}

// setControlChannels makes the control channels what they should be.
func (r *nackClient) setControlChannels(now time.Time) {
	inboxes := make([]string, len(r.ids))
	for class, is := range r.s.subscriptions.wantedClasses() {
		if is {
			inboxes[class] = r.ids[class]
		}
	}
	snapshot := r.s.Cluster.Snapshot()
	r.s.subscriptions.setControlChannels(now, controlChannels(snapshot, inboxes, r.s.Answerer.Publishers()), controlGrace)
}

// serve asks publishers for baselines, and keeps the control channels right until ctx ends.
func (r *nackClient) serve(ctx context.Context) error {
	if r == nil {
		<-ctx.Done()
		return nil
	}
	sweep := time.NewTicker(controlGrace)
	defer sweep.Stop()
	again := time.NewTimer(conn.Promptly)
	defer again.Stop()
	remind := time.NewTimer(recheckFirst)
	defer remind.Stop()
	r.refresh.Store(true)
	r.baselines.setServing(true)
	defer r.baselines.setServing(false)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-again.C:
		case <-remind.C:
		case now := <-sweep.C:
			r.setControlChannels(now)
			r.s.Answerer.ExpireWindows(now)
			r.s.Sender.Retain(func(addr string) bool {
				_, known := r.s.Cluster.Snapshot().NodeShard(addr)
				return known
			})
		}
		if r.refresh.Swap(false) {
			r.setControlChannels(time.Now())
		}
		due, next := r.views.due(time.Now())
		if due {
			r.recheckTopics()
		}
		if !next.IsZero() {
			remind.Reset(max(conn.Promptly, time.Until(next)))
		}
		retry := r.sendBaselines(time.Now())
		switch alarm := r.baselines.setTimer(); {
		case retry:
			again.Reset(baselineRetry)
		case !alarm.IsZero():
			again.Reset(max(conn.Promptly, time.Until(alarm)))
		}
	}
}

// onControl takes in what arrived on a control channel.
func (r *nackClient) onControl(now time.Time, f *session, ch *channel, message string) {
	if r == nil {
		return
	}
	var err error
	switch ch.Kind() {
	case reconcile.Inbox:
		err = r.onAnswer(now, message)
	case reconcile.Nack:
		err = r.onNack(now, f, ch, message)
	case reconcile.Baseline:
		err = r.onBaselineRequest(now, f, ch, message)
	case reconcile.Event, reconcile.Watermark:
	}
	if err != nil {
		r.s.Log.Debug("redis: invalid control message", zap.String("channel", ch.Name()), zap.Error(err))
	}
}

// replyPath returns where to ask: the nodes on which our inbox of a class is confirmed and that can be sent to have it in
// turn.
func (r *nackClient) replyPath(class connkey.Class) (p replyPath, c *control.Queue, found bool) {
	posts := r.s.subscriptions.replyPaths(class)
	r.mu.Lock()
	r.turn++
	turn := r.turn
	r.mu.Unlock()
	slices.SortFunc(posts, func(a, b replyPath) int { return a.slot - b.slot })
	for i := range posts {
		p = posts[(turn+i)%len(posts)]
		if c = r.s.Sender.At(p.Key); c.IsUp() {
			return p, c, true
		}
	}
	return replyPath{}, nil, false
}

// missing is what one channel misses of a publisher.
type missing struct {
	ch      *channel
	numbers seqset.Set
}

// sendNacks asks publishers for what is missing in the channels.
func (r *nackClient) sendNacks(now time.Time, channels map[*channel]struct{}) {
	if r == nil {
		return
	}
	n := r.question.Add(1)
	known, others := make(map[addressee][]missing), make(map[addressee][]missing)
	for ch := range channels {
		ch.collectMissing(now, n, func(publisher string, numbers seqset.Set, answers bool) {
			to := addressee{publisher: publisher, class: ch.Class()}
			if answers {
				known[to] = append(known[to], missing{ch: ch, numbers: numbers})
			} else {
				others[to] = append(others[to], missing{ch: ch, numbers: numbers})
			}
		})
	}
	for to, all := range known {
		all = append(all, others[to]...) // one channel may know what another does not
		delete(others, to)
		r.sendAll(now, to, n, all)
	}
	for to, all := range others {
		r.mu.Lock()
		may := r.askingNew.Left(now, askRateNew) > 0
		if may {
			r.askingNew.Spend(1)
		}
		r.mu.Unlock()
		if may {
			r.sendAll(now, to, n, all)
		}
	}
}

// addressee is who is asked: a publisher, and which of our inboxes it answers to. What was lost is sent again on
// connections of the class, so that it holds up no other topic.
type addressee struct {
	publisher string
	class     connkey.Class
}

// sendAll sends as many questions as it takes.
func (r *nackClient) sendAll(now time.Time, to addressee, n uint64, all []missing) {
	for len(all) > 0 {
		k := min(len(all), wire.MaxNackChannels)
		r.send(now, to, n, all[:k])
		all = all[k:]
	}
}

// send sends one question. What cannot be sent is asked again later.
func (r *nackClient) send(now time.Time, to addressee, n uint64, all []missing) {
	publisher := to.publisher
	if !r.mayAsk(now, publisher) {
		return
	}
	tell := func(heard bool) {
		at := time.Now()
		for _, m := range all {
			m.ch.nackSent(at, publisher, heard)
		}
	}
	p, c, found := r.replyPath(to.class)
	if !found {
		isPrimary := func(key connkey.Key) bool { return key.Class == to.class && r.s.Cluster.IsPrimary(key.Addr) }
		if r.s.Sender.AnyUp(isPrimary) { // the server can be written to, and does not let us have an inbox
			tell(true)
		}
		return
	}
	ask := wire.Nack{Subscriber: r.ids[to.class], N: n}
	for _, m := range all {
		ask.Streams = append(ask.Streams, wire.Missing{Channel: m.ch.Name(), Numbers: m.numbers.String()})
	}
	doc, err := wire.AppendNack(nil, ask)
	if err != nil {
		r.s.Log.Warn("redis: negative acknowledgement not sent", zap.Error(err))
		return
	}
	c.Send(control.Message{Channel: wire.NackChannel(p.slot, publisher), Doc: doc, Sent: func(listeners int, err error) {
		if err != nil {
			return
		}
		if tell(listeners > 0); listeners == 0 {
			r.seekLast(publisher, all)
		}
	}})
}

func (r *nackClient) mayAsk(now time.Time, publisher string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking.Left(now, publisher) <= 0 {
		return false
	}
	r.asking.Spend(now, publisher, 1)
	return true
}

// errNoAnswer is what an answer is that does not say to what.
var errNoAnswer = errors.New("an answer to a question that was not asked")

// awaits reports whether the question was asked, and something waits for its answer still.
func (r *nackClient) awaits(to wire.Reply) bool {
	if to.Channel == "" {
		return r.baselines.awaits(to.N) || to.N == r.recheck.Load()
	}
	ch := r.s.subscriptions.eventChannel(to.Channel)
	return ch != nil && ch.awaits(to.Publisher, to.N)
}

// onAnswer takes in an answer in our inbox. One that nobody waits for is not decoded.
func (r *nackClient) onAnswer(now time.Time, message string) error {
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
		r.s.reportMismatches(r.views.compare(a))
		r.onBaseline(now, a)
		return nil
	}
	ch := r.s.subscriptions.eventChannel(a.Channel)
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
