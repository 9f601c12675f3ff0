package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/shardbus/shardbus/bus/internal/waitgraph"
	"github.com/shardbus/shardbus/internal/signal"
)

// Errors of Ask, in addition to those of Publish.
var (
	// ErrNoSubscriber: the topic has no subscription that could answer.
	ErrNoSubscriber = errors.New("no subscriber")
	// ErrAskEnded: the caller of Ask no longer waits, or has a reply already.
	ErrAskEnded = errors.New("the caller of Ask does not wait")
	// ErrNotAcrossProcesses: the operation works only on a bus without a transport.
	ErrNotAcrossProcesses = errors.New("works only within one process")
)

// Request is the event of a topic for [Ask]: a query, and the way back for its reply. A handler
// answers with Reply, once, before it returns nil.
type Request[Q, R any] struct {
	Query Q

	to  *asker[R]
	gen uint64 // which Ask; an asker is used again
}

// asker is one who waits for a reply. It is used again by later Asks, so that each costs no
// allocation.
type asker[R any] struct {
	mu      sync.Mutex
	gen     uint64 // of the present Ask
	open    bool   // no reply yet
	reply   R
	err     error
	wait    *waitgraph.Wait // not nil when a handler waits
	replied signal.Wakeup
}

// answer settles the Ask gen and reports whether it was still open.
func (a *asker[R]) answer(gen uint64, reply R, err error) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gen != gen || !a.open {
		return false
	}
	a.open, a.reply, a.err = false, reply, err
	if a.wait != nil {
		a.wait.End() // now, and not when the asker is awake
	}
	a.replied.Notify()
	return true
}

// Reply answers the request. Of several subscriptions the first to reply wins. The others, and one
// that comes after the caller of Ask gave up, get ErrAskEnded.
func (r Request[Q, R]) Reply(reply R) error {
	if r.to == nil || !r.to.answer(r.gen, reply, nil) {
		return ErrAskEnded
	}
	return nil
}

// unanswered tells the asker that there will be no reply of this subscription.
func (r *Request[Q, R]) unanswered(err error) {
	if r.to != nil {
		var none R
		r.to.answer(r.gen, none, err)
	}
}

// request is a *Request of any types, as the engine sees it.
type request interface{ unanswered(err error) }

// Answer makes a handler of requests of a function from query to reply. Its error fails the
// attempt; the caller of Ask is told when the request is given up. From a nil f it makes a nil
// handler, which Subscribe refuses.
func Answer[Q, R any](f func(ctx context.Context, query Q) (R, error)) func(ctx context.Context, r Request[Q, R]) error {
	if f == nil {
		return nil
	}
	return func(ctx context.Context, r Request[Q, R]) error {
		reply, err := f(ctx, r.Query)
		if err != nil {
			return err
		}
		if err := r.Reply(reply); err != nil && !errors.Is(err, ErrAskEnded) {
			return err
		}
		return nil
	}
}

// Ask publishes query on topic and waits, while ctx lasts, for a reply. With several subscriptions
// the first reply counts, and so does the first that gives up without one.
//
// Errors: ErrNoSubscriber at once when there is none; ErrNoReply when a handler acknowledged
// without a reply; the cause when the request was dead-lettered, discarded, dropped or abandoned;
// ErrNotAcrossProcesses on a bus with a transport; ErrInvalidConfig on a durable topic; those of
// Publish; ctx's; ErrWouldDeadlock when the subscriber being asked waits, directly or through others, for the handler that asks. After
// the last two the request is handled all the same, and its reply gets ErrAskEnded.
//
// This finds a handler that asks on its own goroutine and with its context, or one derived from it.
// An Ask on another goroutine waits as long as its context lasts, also when a handler waits for
// that goroutine.
func Ask[Q, R any](ctx context.Context, topic *Topic[Request[Q, R]], query Q) (R, error) {
	var none R
	if topic == nil {
		return none, &Error{Op: "ask", Err: ErrInvalidConfig, Detail: "the topic is nil"}
	}
	fail := func(err error) (R, error) {
		return none, &Error{Op: "ask", Topic: topic.info.name, Err: err}
	}
	switch {
	case ctx == nil:
		return fail(ErrNilContext)
	case topic.info.remote:
		return fail(ErrNotAcrossProcesses)
	case topic.info.durable:
		return fail(fmt.Errorf("%w: a durable topic has no way back for a reply", ErrInvalidConfig))
	}
	a := takeAsker[R](&topic.askers)
	c := cell[Request[Q, R]]{v: Request[Q, R]{Query: query, to: a, gen: a.begin()}}
	ended := false
	defer func() {
		if !ended { // ctx's methods, and a Key, are user code
			a.end()
			topic.askers.release(a)
		}
	}()
	var id keyInfo
	var routed bool
	var err error
	if topic.chain == nil {
		id, routed, err = topic.fanout.ask(ctx, &c)
	} else {
		id, routed, err = askChained(ctx, topic, c)
	}
	if routed && err == nil && !a.answered() {
		err = await(ctx, topic, a, id.hash)
	}
	reply, replyErr := a.end()
	ended = true
	topic.askers.release(a)
	switch {
	case err != nil:
		return none, err
	case !routed:
		return fail(ErrNoSubscriber)
	case replyErr != nil:
		return fail(replyErr)
	}
	return reply, nil
}

// askChained is fanout.ask through the topic's chain. c is a copy: a pointer to the caller's would move
// every request to the heap.
func askChained[Q, R any](ctx context.Context, topic *Topic[Request[Q, R]], c cell[Request[Q, R]]) (id keyInfo, routed bool, err error) {
	p := &Publication{info: topic.info}
	p.events = p.one[:]
	e := &p.events[0]
	e.value = &c.v
	p.publish = func(ctx context.Context, _ *Publication, _ []int) {
		c.headers = e.headers
		id, routed, e.err = topic.fanout.ask(ctx, &c)
		if e.err == nil && !routed {
			e.err = &Error{Op: "ask", Topic: topic.info.name, Err: ErrNoSubscriber}
		}
		e.published = e.err == nil
	}
	err = p.run(ctx, topic.chain.handler)
	return id, routed || err != nil, err
}

// begin opens the asker for the next Ask, and returns its number.
func (a *asker[R]) begin() (gen uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gen++
	a.open = true
	return a.gen
}

// askYields is how often an asker gives way before it sleeps: a reply is often there as soon as the
// lane has had its turn, and sleeping and being woken costs about as much as all the rest.
const askYields = 4

// answered tells whether the reply came before the asker has to sleep.
func (a *asker[R]) answered() bool {
	for range askYields {
		if len(a.replied) > 0 {
			return true
		}
		runtime.Gosched()
	}
	return false
}

// await has a wait for its reply. A handler that waits for itself is told so. hash is that of the
// request's key.
func await[Q, R any](ctx context.Context, topic *Topic[Request[Q, R]], a *asker[R], hash uint64) error {
	fail := func(err error, detail string) error {
		return &Error{Op: "ask", Topic: topic.info.name, Err: err, Detail: detail}
	}
	if from := callerLane(ctx); from != nil && from.runsHere() {
		if a.beginWait(from, topic.fanout.possibleOwners(hash)) {
			defer from.Finish()
			if from.Deadlocked() {
				return fail(ErrWouldDeadlock, "the subscriber being asked is waiting, directly or indirectly, for this handler")
			}
		}
	}
	ended := ctx.Done()
	if ended == nil {
		<-a.replied
		return nil
	}
	select {
	case <-a.replied:
		return nil
	case <-ended:
		return fail(causeOf(ctx), "")
	}
}

// end closes the asker, and returns what came. Nothing answers the Ask any more, so no token can
// come after it.
func (a *asker[R]) end() (reply R, err error) {
	var none R
	a.mu.Lock()
	defer a.mu.Unlock()
	reply, err = a.reply, a.err
	a.open, a.reply, a.err, a.wait = false, none, nil, nil
	a.replied.Clear()
	return reply, err
}

// ask is publish for one event, and reports whether anybody got it.
func (fan *fanout[T]) ask(ctx context.Context, c *cell[T]) (id keyInfo, routed bool, err error) {
	id, entered := fan.tryFast(&c.v, c.headers)
	if entered {
		return id, true, nil
	}
	fan.mu.Lock()
	routed = len(fan.mu.targets) > 0
	p := caller{ctx: ctx}
	refused := !routed && fan.refuses(&p)
	fan.mu.Unlock()
	if refused {
		if err := fan.admit(&p); err != nil {
			return id, false, &Error{Op: "ask", Topic: fan.info.name, Err: err}
		}
	}
	if !routed {
		return id, false, nil
	}
	if !id.known {
		id = fan.findKey(&c.v, false)
	}
	var receipt Receipt // the last subscription may leave while this waits for its room
	err = fan.publish(ctx, c, id, nil, &receipt)
	return id, receipt.Receivers > 0, err
}

// askers is a topic's free list of *asker[R]. It is the topic's own, and no sync.Pool, because a
// channel must stay with its bus.
type askers struct {
	mu   sync.Mutex
	free []any
}

func takeAsker[R any](l *askers) *asker[R] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.free); n > 0 {
		a := l.free[n-1].(*asker[R])
		l.free = l.free[:n-1]
		return a
	}
	return &asker[R]{replied: signal.NewWakeup()}
}

func (l *askers) release(a any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.free) < maxFreeAskers {
		l.free = append(l.free, a)
	}
}

// maxFreeAskers bounds the memory that a burst of Asks leaves behind.
const maxFreeAskers = 1024

// replies has the handler chain h tell askers whom it acknowledged without a reply.
func replies(h Handler) Handler {
	return func(ctx context.Context, d *Delivery) error {
		err := h(ctx, d)
		if err == nil {
			d.value.(request).unanswered(ErrNoReply)
		}
		return err
	}
}

// failAsker tells the asker of c, if it is a request, that nobody will answer it. c is a copy: a
// pointer to the caller's would move every event to the heap.
func (s *subscription[T]) failAsker(c cell[T], err error) {
	if s.asked {
		s.unanswered(c, err)
	}
}

// unanswered is apart from failAsker, and not to be inlined, so that the copy that goes to the heap
// is made for requests only, and not for every event that is dropped.
//
//go:noinline
func (s *subscription[T]) unanswered(c cell[T], err error) {
	any(&c.v).(request).unanswered(err)
}
