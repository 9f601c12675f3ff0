package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// job is an event of the ledger test: what the handler does with it is decided
// by the test's random source.
type job struct {
	Publisher, Seq int
	Key            string
}

// chaos is one random run: publishers, a handler that fails in every way, and
// an owner that pauses, drains and ends it all at random moments.
type chaos struct {
	kind        string // of subscription: see subscribe
	middleware  bool
	policy      bus.Policy
	lanes       int
	capacity    int
	maxDeferred int
	keys        int // 0: no keys
	publishers  int
	events      int // of each publisher
	batch       bool
	broker      bool
	incidents   int // percent of attempts that don't just succeed
	ending      string
	seed        uint64
}

func drawChaos(t *rapid.T) chaos {
	c := chaos{
		kind:        rapid.SampledFrom([]string{"single", "single", "batch", "batch", "actors", "group", "group of batches"}).Draw(t, "kind"),
		middleware:  rapid.Bool().Draw(t, "middleware"),
		policy:      rapid.SampledFrom([]bus.Policy{bus.Block, bus.DropOldest, bus.DropNewest, bus.Fail, bus.KeepLatest}).Draw(t, "policy"),
		lanes:       rapid.SampledFrom([]int{1, 1, 2, 5}).Draw(t, "lanes"),
		capacity:    rapid.SampledFrom([]int{1, 2, 7, 64}).Draw(t, "capacity"),
		maxDeferred: rapid.SampledFrom([]int{1, 3, 100}).Draw(t, "max deferred"),
		keys:        rapid.SampledFrom([]int{0, 1, 3, 20}).Draw(t, "keys"),
		publishers:  rapid.IntRange(1, 4).Draw(t, "publishers"),
		events:      rapid.IntRange(1, 150).Draw(t, "events"),
		batch:       rapid.Bool().Draw(t, "batch"),
		broker:      rapid.Bool().Draw(t, "broker"),
		incidents:   rapid.SampledFrom([]int{0, 10, 50, 100}).Draw(t, "trouble"),
		ending:      rapid.SampledFrom([]string{"shutdown", "hasty shutdown", "close", "drain", "hasty drain"}).Draw(t, "ending"),
		seed:        rapid.Uint64().Draw(t, "seed"),
	}
	if c.policy == bus.KeepLatest || c.kind == "actors" {
		c.keys = max(1, c.keys)
	}
	if c.grouped() {
		c.broker = false
	}
	return c
}

func (c chaos) grouped() bool { return strings.HasPrefix(c.kind, "group") }

func (c chaos) batches() bool { return strings.Contains(c.kind, "batch") }

// Whatever publishers, handlers and owners do, the ledger balances whenever it
// is read, each accepted event ends in exactly one place, and the events of one
// publisher and key are settled in their order.
func TestLedgerUnderChaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := drawChaos(rt)
		var problems []string
		synctest.Test(t, func(t *testing.T) { problems = c.run() })
		if len(problems) > 0 {
			rt.Fatalf("%+v:\n%s", c, strings.Join(problems, "\n"))
		}
	})
}

// record is what the test saw from outside.
type record struct {
	mu       sync.Mutex
	accepted int            // publishes that returned nil
	handled  map[string]int // "publisher/seq" → times acknowledged
	order    map[string]int // "publisher/key" → last seq settled
	running  map[string]int // key → handlers running
	problems []string
	rng      *rand.Rand
}

func (r *record) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *record) roll(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

func (c chaos) run() []string {
	r := &record{
		handled: map[string]int{}, order: map[string]int{}, running: map[string]int{},
		rng: rand.New(rand.NewPCG(c.seed, 1)),
	}
	cfg := bus.Config{}
	if c.broker {
		cfg.Transport = memory.NewBroker().Connect()
		cfg.InboxBytes = 2000 // about eight envelopes: it overflows too
	}
	b, err := bus.New(cfg)
	if err != nil {
		return []string{err.Error()}
	}
	tc := bus.TopicConfig[job]{Name: "jobs"}
	if c.keys > 0 {
		tc.Key = func(j job) string { return j.Key }
	}
	topic, err := bus.NewTopic(b, tc)
	if err != nil {
		return []string{err.Error()}
	}
	subs := &list[*bus.Subscription]{}
	if err := c.subscribe(topic, r, subs, "worker"); err != nil {
		return []string{err.Error()}
	}

	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() { // reads the ledger all the time
		for {
			for _, sub := range subs.get() {
				if st := sub.Stats(); !st.Balanced() {
					r.mu.Lock()
					r.problem("unbalanced: %v", st)
					r.mu.Unlock()
					return
				}
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	for p := range c.publishers {
		wg.Go(func() { c.publish(topic, r, p) })
	}
	wg.Go(func() {
		for range r.roll(4) {
			time.Sleep(time.Duration(r.roll(20)) * time.Millisecond)
			all := subs.get()
			sub := all[r.roll(len(all))]
			sub.Pause()
			time.Sleep(time.Duration(r.roll(20)) * time.Millisecond)
			sub.Resume()
		}
	})
	comings := make(chan struct{})
	wg.Go(func() {
		defer close(comings)
		c.comeAndGo(topic, r, subs)
	})
	time.Sleep(time.Duration(r.roll(200)) * time.Millisecond)
	if strings.Contains(c.ending, "drain") {
		<-comings // else one may join after the drain
	}
	whole := c.end(b, subs, r)
	<-comings
	for _, sub := range subs.get() {
		<-sub.Done()
	}
	close(ended)
	if err := b.Close(); err != nil {
		r.problem("close: %v", err)
	}
	wg.Wait()
	return c.verify(r, subs.get(), whole)
}

// publish publishes one publisher's events, until it is refused for good.
func (c chaos) publish(topic *bus.Topic[job], r *record, p int) {
	for seq := 1; seq <= c.events; {
		n := 1
		if c.batch {
			n = min(1+r.roll(100), c.events-seq+1)
		}
		jobs := make([]job, n)
		for i := range jobs {
			jobs[i] = job{Publisher: p, Seq: seq + i, Key: fmt.Sprint("k", r.roll(max(1, c.keys)))}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+r.roll(30))*time.Millisecond)
		var err error
		if c.batch {
			err = topic.PublishBatch(ctx, jobs)
		} else {
			err = topic.Publish(ctx, jobs[0])
		}
		cancel()
		failed := 0
		var be *bus.BatchError
		switch {
		case errors.As(err, &be):
			failed = len(be.Failed)
		case err != nil:
			failed = 1
		}
		r.mu.Lock()
		r.accepted += n - failed
		if err != nil && !errors.Is(err, bus.ErrClosed) && !errors.Is(err, bus.ErrMailboxFull) && !errors.Is(err, context.DeadlineExceeded) {
			r.problem("publish: %v", err)
		}
		r.mu.Unlock()
		if errors.Is(err, bus.ErrClosed) {
			return
		}
		seq += n
		if r.roll(5) == 0 {
			time.Sleep(time.Duration(r.roll(5)) * time.Millisecond)
		}
	}
}

// handle does anything a handler may do.
func (c chaos) handle(ctx context.Context, r *record, j job) error {
	r.mu.Lock()
	r.running[j.Key]++
	if c.keys > 0 && r.running[j.Key] > 1 {
		r.problem("key %s is handled twice at once", j.Key)
	}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.running[j.Key]--
		r.mu.Unlock()
	}()
	settled := func() { c.settle(r, j) }
	if r.roll(100) < c.incidents {
		switch r.roll(8) {
		case 0:
			return bus.RetryAfter(time.Duration(r.roll(10))*time.Millisecond, errors.New("again"))
		case 1:
			return bus.Snooze(time.Duration(r.roll(10)) * time.Millisecond)
		case 2:
			settled()
			return bus.Discard(errors.New("no use"))
		case 3:
			settled()
			return bus.DeadLetter(errors.New("no good"))
		case 4:
			settled()
			return errors.New("failed")
		case 5:
			if c.kind != "actors" { // which are tried again
				settled()
			}
			panic("at the handler")
		case 6:
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(r.roll(10)) * time.Millisecond):
			}
		case 7:
			time.Sleep(time.Duration(r.roll(3)) * time.Millisecond)
		}
	}
	settled()
	r.mu.Lock()
	r.handled[fmt.Sprint(j.Publisher, "/", j.Seq)]++
	r.mu.Unlock()
	return nil
}

// settle says that this is the last that happens to j.
func (c chaos) settle(r *record, j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.keys == 0 && (c.lanes > 1 || c.incidents > 0 || c.grouped()) {
		return // without a key, a deferred event is overtaken
	}
	who := fmt.Sprint(j.Publisher, "/", j.Key)
	if c.keys == 0 {
		who = fmt.Sprint(j.Publisher)
	}
	if j.Seq <= r.order[who] {
		r.problem("publisher %d key %s: %d settled after %d", j.Publisher, j.Key, j.Seq, r.order[who])
	}
	r.order[who] = j.Seq
}

// end ends the run and tells whether everything accepted had to be handled.
func (c chaos) end(b *bus.Bus, subs *list[*bus.Subscription], r *record) (whole bool) {
	timeout := time.Hour
	if strings.HasPrefix(c.ending, "hasty") {
		timeout = time.Duration(r.roll(30)) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var err error
	switch c.ending {
	case "close":
		if err := b.Close(); err != nil {
			r.problem("close: %v", err)
		}
		return false
	case "drain", "hasty drain":
		for _, sub := range subs.get() {
			drainErr := sub.Drain(ctx)
			r.agree(drainErr, sub)
			err = errors.Join(err, drainErr)
		}
	default:
		err = b.Shutdown(ctx)
		r.agree(err, subs.get()...)
	}
	if err != nil && (timeout == time.Hour || !errors.Is(err, context.DeadlineExceeded)) {
		r.problem("%s: %v", c.ending, err)
	}
	return err == nil
}

// abandonedIn are the numbers in the text of an end whose context ended first.
var abandonedIn = regexp.MustCompile(`(?:abandoned (\d+) events|(\d+) events abandoned)(?:, (\d+) still running)?`)

// comeAndGo has members of a group come and go; the first stays.
func (c chaos) comeAndGo(topic *bus.Topic[job], r *record, subs *list[*bus.Subscription]) {
	if !c.grouped() {
		return
	}
	for i := range 1 + r.roll(5) {
		time.Sleep(time.Duration(r.roll(30)) * time.Millisecond)
		if err := c.subscribe(topic, r, subs, fmt.Sprint("worker", i)); err != nil {
			if !errors.Is(err, bus.ErrClosed) {
				r.mu.Lock()
				r.problem("join: %v", err)
				r.mu.Unlock()
			}
			return
		}
		if all := subs.get(); r.roll(2) == 0 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			err := all[1+r.roll(len(all)-1)].Drain(ctx)
			cancel()
			if err != nil && !errors.Is(err, bus.ErrClosed) {
				r.mu.Lock()
				r.problem("leave: %v", err)
				r.mu.Unlock()
			}
		}
	}
}
