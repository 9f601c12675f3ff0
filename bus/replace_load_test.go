package bus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

// keyLog holds handlers to the order of each key, each event once, and never two of a key at once.
type keyLog struct {
	mu       sync.Mutex
	next     map[string]int
	running  map[string]bool
	problems []string
	handled  int
}

func newKeyLog() *keyLog { return &keyLog{next: map[string]int{}, running: map[string]bool{}} }

func (l *keyLog) begin(e event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[e.Key] || e.N != l.next[e.Key] {
		l.problems = append(l.problems, fmt.Sprintf("%v starts, %d is due, runs: %v", e, l.next[e.Key], l.running[e.Key]))
	}
	l.running[e.Key] = true
}

// end is called as an attempt ends; failed says that there will be another.
func (l *keyLog) end(e event, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running[e.Key] = false
	if !failed {
		l.next[e.Key] = e.N + 1
		l.handled++
	}
}

// verify says what is wrong unless n events were handled, each by one of the subscriptions, all of which
// have ended.
func (l *keyLog) verify(n int, subs []*bus.Subscription) (problems []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	problems = l.problems[:min(10, len(l.problems))]
	var sum bus.Stats
	for _, s := range subs {
		st := s.Stats()
		if !st.Balanced() || st.Pending() != 0 || !ended(s) {
			problems = append(problems, fmt.Sprintf("%v; ended: %v", st, ended(s)))
		}
		sum.Accepted, sum.Handled, sum.Lost = sum.Accepted+st.Accepted, sum.Handled+st.Handled, sum.Lost+st.Lost
	}
	if l.handled != n || int(sum.Accepted) != n || int(sum.Handled) != n || sum.Lost > 0 {
		problems = append(problems, fmt.Sprintf("%d published; the handlers had %d, the ledgers say %v", n, l.handled, sum))
	}
	return problems
}

// single is a handler of single events; fail says which attempts fail.
func (l *keyLog) single(fail func() bool) func(context.Context, event) error {
	return func(_ context.Context, e event) error {
		l.begin(e)
		failed := fail()
		l.end(e, failed)
		if failed {
			return bus.RetryAfter(time.Duration(rand.IntN(1000))*time.Microsecond, errAgain)
		}
		return nil
	}
}

// batches is single for batches; it fails all events from one on.
func (l *keyLog) batches(fail func() bool) func(context.Context, []bus.Message[event]) error {
	return func(_ context.Context, batch []bus.Message[event]) error {
		be := &bus.BatchError{}
		failed := map[string]bool{}
		for i, m := range batch {
			if failed[m.Key] {
				continue // it comes again, after the one that failed
			}
			l.begin(m.Value)
			failed[m.Key] = fail()
			l.end(m.Value, failed[m.Key])
			if failed[m.Key] {
				be.Failed = append(be.Failed, bus.IndexedError{Index: i, Err: bus.RetryAfter(time.Millisecond, errAgain)})
			}
		}
		if len(be.Failed) > 0 {
			return be
		}
		return nil
	}
}

// Through 50 Replaces under the load of several publishers no event is unrouted, each is handled once
// and in the order of its key, and the ledgers of all 51 subscriptions balance against what was
// published.
func TestReplaceUnderLoad(t *testing.T) {
	kinds := map[string]struct {
		lanes, retries int
		keyless        bool // one lane keeps the order of each publisher
		kind           string
		remote         bool
		opts           []bus.SubscribeOption
	}{
		"shared mailbox":      {lanes: 1},
		"no keys":             {lanes: 1, keyless: true},
		"own mailbox":         {lanes: 1, retries: 5, opts: []bus.SubscribeOption{bus.Mailbox(8, bus.Block)}},
		"lanes":               {lanes: 4, retries: 5},
		"small lanes":         {lanes: 4, retries: 5, opts: []bus.SubscribeOption{bus.Mailbox(4, bus.Block)}},
		"group":               {lanes: 2, retries: 5, opts: []bus.SubscribeOption{bus.Group("g")}},
		"batches":             {lanes: 3, retries: 5, kind: "batch"},
		"actors":              {lanes: 3, retries: 5, kind: "actors"},
		"transport, one lane": {lanes: 1, retries: 5, remote: true},
		"transport, no keys":  {lanes: 1, keyless: true, remote: true},
		"transport, lanes":    {lanes: 4, retries: 5, remote: true},
		"transport, batches":  {lanes: 2, retries: 5, remote: true, kind: "batch"},
	}
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			cfg := bus.Config{}
			if k.remote {
				cfg.Transport = memory.NewBroker().Connect()
			}
			b := newBus(t, cfg)
			topicCfg := bus.TopicConfig[event]{Name: "n", Key: eventKey}
			if k.keyless {
				topicCfg.Key = nil
			}
			topic := newTopic(t, b, topicCfg)
			log := newKeyLog()
			fail := func() bool { return rand.IntN(100) < k.retries }
			const replaces, publishers = 50, 4
			names := []string{"s0"}
			if k.opts != nil && k.lanes == 2 {
				names = []string{"s0", "s1", "s2"} // of a group
			}
			ctx := context.Background()
			put := func(name string, first bool) *bus.Subscription {
				var s *bus.Subscription
				var err error
				switch {
				case k.kind == "batch" && first:
					s, err = topic.SubscribeBatch(ctx, name, log.batches(fail), bus.Lanes(k.lanes))
				case k.kind == "batch":
					s, err = topic.ReplaceBatch(ctx, name, log.batches(fail), bus.Lanes(k.lanes))
				case k.kind == "actors":
					h := log.single(fail)
					build := func(context.Context, string) (bus.Actor[event], error) { return bus.Actor[event]{Handle: h}, nil }
					if first {
						s, err = topic.Spawn(ctx, name, build, bus.Lanes(k.lanes))
					} else {
						s, err = topic.Respawn(ctx, name, build, bus.Lanes(k.lanes))
					}
				case first:
					s, err = topic.Subscribe(ctx, name, log.single(fail), append(k.opts, bus.Lanes(k.lanes))...)
				default:
					s, err = topic.Replace(ctx, name, log.single(fail), append(k.opts, bus.Lanes(k.lanes))...)
				}
				if err != nil {
					t.Error(err)
				}
				return s
			}
			var subs []*bus.Subscription
			for _, name := range names {
				subs = append(subs, put(name, true))
			}
			stop := make(chan struct{})
			counts := make([]int, publishers)
			var publishing sync.WaitGroup
			for p := range publishers {
				publishing.Go(func() {
					const keys = 5
					for n := 0; ; n++ {
						for key := range keys {
							e := event{fmt.Sprint("p", p, "k", key), n}
							if err := topic.Publish(ctx, e); err != nil {
								t.Error(err)
								return
							}
							counts[p]++
						}
						select {
						case <-stop:
							return
						case <-time.After(200 * time.Microsecond): // that is load enough
						}
					}
				})
			}
			for i := range replaces {
				handled := topic.Stats().Published
				for topic.Stats().Published < handled+50 {
					time.Sleep(100 * time.Microsecond)
				}
				if s := put(names[i%len(names)], false); s != nil {
					subs = append(subs, s)
				}
			}
			close(stop)
			publishing.Wait()
			shutdown(t, b)
			total := 0
			for _, n := range counts {
				total += n
			}
			if st := topic.Stats(); st.Unrouted != 0 || int(st.Published) != total {
				t.Errorf("%d published: %+v", total, st)
			}
			for _, p := range log.verify(total, subs) {
				t.Error(p)
			}
			if len(subs) != replaces+len(names) {
				t.Errorf("%d subscriptions", len(subs))
			}
		})
	}
}

// replaceChaos is Replace mixed with pauses, drains of what was replaced, retries, and any lanes,
// mailboxes and forms, in whatever order.
type replaceChaos struct {
	remote, grouped bool
	failing         int // percent of attempts
	seed            uint64
	steps           []replaceStep

	ctx       context.Context
	topic     *bus.Topic[event]
	log       *keyLog
	rng       *rand.Rand
	mu        sync.Mutex // of rng and problems
	problems  []string
	published int
}

type replaceStep struct{ kind, lanes, capacity, form, n int }

func (c *replaceChaos) problem(err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.problems = append(c.problems, err.Error())
	}
}

// fail takes some time and says whether the attempt is to fail.
func (c *replaceChaos) fail() bool {
	c.mu.Lock()
	d, failed := c.rng.IntN(3), c.rng.IntN(100) < c.failing
	c.mu.Unlock()
	time.Sleep(time.Duration(d) * time.Millisecond)
	return failed
}

func (c *replaceChaos) replace(s replaceStep) (*bus.Subscription, error) {
	single, batches := c.log.single(c.fail), c.log.batches(c.fail)
	switch {
	case s.form == 0:
		return c.topic.ReplaceBatch(c.ctx, "s", batches, bus.Lanes(s.lanes), bus.Mailbox(s.capacity, bus.Block))
	case s.form == 1 && !c.grouped:
		build := func(context.Context, string) (bus.Actor[event], error) { return bus.Actor[event]{Handle: single}, nil }
		return c.topic.Respawn(c.ctx, "s", build, bus.Lanes(s.lanes), bus.Mailbox(s.capacity, bus.Block))
	default:
		return c.topic.Replace(c.ctx, "s", single, bus.Lanes(s.lanes), bus.Mailbox(s.capacity, bus.Block))
	}
}

func (c *replaceChaos) run() []string {
	c.ctx, c.log, c.rng = context.Background(), newKeyLog(), rand.New(rand.NewPCG(c.seed, 0))
	cfg := bus.Config{}
	if c.remote {
		cfg.Transport = memory.NewBroker().Connect()
	}
	b, err := bus.New(cfg)
	if err != nil {
		return []string{err.Error()}
	}
	defer func() { c.problem(b.Close()) }()
	if c.topic, err = bus.NewTopic(b, bus.TopicConfig[event]{Name: "n", Key: eventKey}); err != nil {
		return []string{err.Error()}
	}
	var opts []bus.SubscribeOption
	if c.grouped {
		opts = append(opts, bus.Group("g"))
		_, err := c.topic.Subscribe(c.ctx, "other", c.log.single(c.fail), opts...)
		c.problem(err)
	}
	now, err := c.topic.Subscribe(c.ctx, "s", c.log.single(c.fail), opts...)
	c.problem(err)
	subs := slices.Collect(b.Subscriptions())
	c.steer(now, &subs)
	c.problem(b.Shutdown(c.ctx))
	if st := c.topic.Stats(); st.Unrouted != 0 {
		c.problem(fmt.Errorf("%+v", st))
	}
	return append(c.problems, c.log.verify(c.published, subs)...)
}

// steer takes the steps, and returns when everything is published and what was replaced has drained.
func (c *replaceChaos) steer(now *bus.Subscription, subs *[]*bus.Subscription) {
	next := map[string]int{}
	var working sync.WaitGroup
	turn := make(chan struct{}, 1) // publishers come one after another, so that each key has one order
	for _, s := range c.steps {
		switch s.kind {
		case 0, 1, 2:
			events := make([]event, s.n)
			for i := range events {
				key := fmt.Sprint("k", i%4)
				events[i] = event{key, next[key]}
				next[key]++
			}
			c.published += s.n
			turn <- struct{}{}
			working.Go(func() {
				defer func() { <-turn }()
				c.problem(c.topic.PublishBatch(c.ctx, events))
			})
		case 3, 4, 5:
			old := now
			var err error
			if now, err = c.replace(s); err != nil {
				c.problem(err)
				now = old
				continue
			}
			*subs = append(*subs, now)
			if s.n%3 == 0 {
				working.Go(func() { c.problem(old.Drain(c.ctx)) })
			}
		case 6:
			now.Pause()
			time.AfterFunc(time.Duration(s.n)*time.Millisecond, now.Resume)
		case 7:
			time.Sleep(time.Duration(s.n) * time.Millisecond)
		}
	}
	working.Wait()
}

func TestReplaceChaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := &replaceChaos{
			remote: rapid.Bool().Draw(rt, "remote"), grouped: rapid.Bool().Draw(rt, "grouped"),
			failing: rapid.SampledFrom([]int{0, 10, 50}).Draw(rt, "failing"), seed: rapid.Uint64().Draw(rt, "seed"),
			steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) replaceStep {
				return replaceStep{
					kind: rapid.IntRange(0, 7).Draw(t, "kind"), lanes: rapid.SampledFrom([]int{1, 2, 5}).Draw(t, "lanes"),
					capacity: rapid.SampledFrom([]int{1, 3, 1000}).Draw(t, "capacity"),
					form:     rapid.IntRange(0, 3).Draw(t, "form"), n: rapid.IntRange(1, 20).Draw(t, "n"),
				}
			}), 5, 40).Draw(rt, "steps"),
		}
		c.grouped = c.grouped && !c.remote
		var problems []string
		synctest.Test(t, func(*testing.T) { problems = c.run() })
		if len(problems) > 0 {
			rt.Fatalf("%+v:\n%s", c.steps, strings.Join(problems, "\n"))
		}
	})
}
