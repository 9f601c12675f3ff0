package durabletest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// process is a bus with its connection to the log.
type process struct {
	name      string
	t         *testing.T
	log       transport.Log
	bus       *bus.Bus
	topic     *bus.Topic[order]
	subs      []*chaosSub
	histories map[string]*history
}

// chaosSub is a subscription that is made again when it has ended.
type chaosSub struct {
	*bus.Subscription
	name      string
	h         *history
	subscribe func() (*bus.Subscription, error)
	replace   func() (*bus.Subscription, error)
}

// chaosTopic is the topic of a chaos, whose events have keys or not.
func chaosTopic(t *testing.T, b *bus.Bus, keyed bool) *bus.Topic[order] {
	t.Helper()
	cfg := bus.TopicConfig[order]{Name: "orders", Class: bus.Durable, Partitions: 3, DedupIDs: time.Hour}
	if keyed {
		cfg.Key = func(o order) string { return o.Customer }
	}
	topic, err := bus.NewTopic(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func startProcess(t *testing.T, log transport.Log, histories map[string]*history, keyed bool) *process {
	t.Helper()
	p := &process{t: t, log: log, histories: histories, name: fmt.Sprintf("the process of %v", time.Now().Format("05.000"))}
	var err error
	if p.bus, err = bus.New(bus.Config{Log: log, MaxStarts: 100}); err != nil {
		t.Fatal(err)
	}
	p.topic = chaosTopic(t, p.bus, keyed)
	ctx, patient := t.Context(), bus.PanicBudget(1<<20, time.Hour)
	group := func(name string, opts ...bus.SubscribeOption) {
		h := histories["group"]
		opts = append(opts, bus.Group("group"), bus.From(bus.Earliest()), patient)
		p.add(&chaosSub{name: name, h: h,
			subscribe: func() (*bus.Subscription, error) { return p.topic.Subscribe(ctx, name, h.handle(p), opts...) },
			replace:   func() (*bus.Subscription, error) { return p.topic.Replace(ctx, name, h.handle(p), opts...) },
		})
	}
	group("g1", bus.Lanes(1))
	group("g2", bus.Lanes(3), bus.Mailbox(2, bus.Block))
	group("g3", bus.Lanes(8), bus.MaxDeferred(2))
	p.add(&chaosSub{name: "solo", h: histories["solo"],
		subscribe: func() (*bus.Subscription, error) {
			return p.topic.Subscribe(ctx, "solo", histories["solo"].handle(p), bus.Lanes(8), bus.Mailbox(4, bus.Block), bus.From(bus.Earliest()), patient)
		},
		replace: func() (*bus.Subscription, error) {
			return p.topic.Replace(ctx, "solo", histories["solo"].handle(p), bus.Lanes(4), patient)
		},
	})
	p.add(&chaosSub{name: "one", h: histories["one"],
		subscribe: func() (*bus.Subscription, error) {
			return p.topic.Subscribe(ctx, "one", histories["one"].handle(p), bus.From(bus.Earliest()), patient)
		},
		replace: func() (*bus.Subscription, error) {
			return p.topic.Replace(ctx, "one", histories["one"].handle(p), patient)
		},
	})
	p.add(&chaosSub{name: "batch", h: histories["batch"],
		subscribe: func() (*bus.Subscription, error) {
			return p.topic.SubscribeBatch(ctx, "batch", histories["batch"].handleBatch(p), bus.Lanes(2), bus.BatchSize(10), bus.From(bus.Earliest()))
		},
		replace: func() (*bus.Subscription, error) {
			return p.topic.ReplaceBatch(ctx, "batch", histories["batch"].handleBatch(p), bus.Lanes(3), bus.BatchSize(5))
		},
	})
	if !keyed {
		return p
	}
	build := func(context.Context, string) (bus.Actor[order], error) {
		return bus.Actor[order]{Handle: histories["actors"].handle(p)}, nil
	}
	p.add(&chaosSub{name: "actors", h: histories["actors"],
		subscribe: func() (*bus.Subscription, error) {
			return p.topic.Spawn(ctx, "actors", build, bus.Lanes(4), bus.From(bus.Earliest()), patient)
		},
		replace: func() (*bus.Subscription, error) { return p.topic.Respawn(ctx, "actors", build, bus.Lanes(2), patient) },
	})
	return p
}

func (p *process) add(s *chaosSub) {
	p.t.Helper()
	p.subs = append(p.subs, s)
	p.again(s)
}

func (p *process) again(s *chaosSub) {
	p.t.Helper()
	sub, err := s.subscribe()
	if err != nil {
		p.t.Fatalf("%s: %v", s.name, err)
	}
	s.Subscription = sub
}

// crash ends the process as a kill would.
func (p *process) crash() {
	for _, h := range p.histories {
		h.crashing(p)
	}
	if err := p.log.Close(); err != nil {
		p.t.Error(err)
	}
	for _, h := range p.histories {
		h.crashed(p)
	}
	_ = p.bus.Close() // it says that the log was closed
}

func (p *process) checkStats() {
	p.t.Helper()
	for _, s := range p.subs {
		if st := s.Stats(); !st.Balanced() {
			p.t.Errorf("%s: %v", s.name, st)
		}
	}
}

// checkEnd checks a subscription that has ended in order.
func checkEnd(t *testing.T, s *bus.Subscription) {
	t.Helper()
	if st := s.Stats(); !st.Balanced() || st.Pending() != 0 || st.Committed != st.Handled+st.Discarded+st.DeadLettered {
		t.Errorf("%s ended with %v, committed %d", s.Name(), st, st.Committed)
	}
}

// chaosHistories is a history for each consumer.
func chaosHistories(t *testing.T, seed uint64, keyed bool) map[string]*history {
	histories := make(map[string]*history)
	for _, name := range []string{"group", "solo", "one", "batch", "actors"} {
		if keyed || name != "actors" {
			histories[name] = newHistory(t, name, seed)
		}
	}
	return histories
}

// TestChaos: whatever ends when, every event is handled, in the order of its key.
func TestChaos(t *testing.T) {
	for seed := range chaosSequences() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed, true) })
		})
	}
}

// TestChaosUnkeyed: the same without keys. The buses of a group share each partition then.
func TestChaosUnkeyed(t *testing.T) {
	for seed := range chaosSequences() {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, seed, false) })
		})
	}
}

func chaosSequences() uint64 {
	if os.Getenv(killsVariable) != "" { // the audit
		return 60
	}
	return 12
}

// step does one thing to a subscription. It reports false if that is to be done to the process.
func (p *process) step(s *chaosSub, what int) bool {
	t := p.t
	switch what {
	case 0:
		s.Pause()
	case 1, 2:
		s.Resume()
	case 3:
		s.Stop()
		<-s.Done()
		p.again(s)
	case 4, 5:
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Drain(ctx); err != nil {
			t.Errorf("%s: %v", s.name, err)
			for _, s := range p.subs {
				t.Errorf("%s: %v", s.name, s.Stats())
			}
		}
		checkEnd(t, s.Subscription)
		p.again(s)
	case 6, 7:
		sub, err := s.replace()
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			return true
		}
		s.Subscription = sub
	default:
		return false
	}
	return true
}

// end ends the process, in order or not.
func (p *process) end(crash bool) {
	if crash {
		p.crash()
		return
	}
	if err := p.bus.Shutdown(p.t.Context()); err != nil {
		p.t.Error(err)
	}
	for _, s := range p.subs {
		checkEnd(p.t, s.Subscription)
	}
}

func (p *process) shut() {
	p.checkStats()
	p.end(false)
}

// awaitAll has every handler succeed, and waits until all events are handled.
func awaitAll(t *testing.T, histories map[string]*history, processes []*process, keys, events int) {
	t.Helper()
	for _, h := range histories {
		h.mu.Lock()
		h.calm = true
		h.mu.Unlock()
	}
	for _, p := range processes {
		for _, s := range p.subs {
			s.Resume()
		}
	}
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline) && !t.Failed(); time.Sleep(100 * time.Millisecond) {
		all := true
		for _, h := range histories {
			all = all && h.settledAll(keys, events)
		}
		if all {
			break
		}
	}
	for name, h := range histories {
		if open := h.open(events); len(open) > 0 {
			t.Errorf("%s: %d are not handled: %v ...", name, len(open), open[:min(5, len(open))])
		}
		if most := 40 * (h.crashes + 1); h.again > most {
			t.Errorf("%s: %d events came again after %d crashes", name, h.again, h.crashes)
		}
	}
}

// checkPositions: nothing is left in the log, and nobody holds any of it.
func checkPositions(t *testing.T, log transport.Log) {
	t.Helper()
	positions, err := log.Positions(t.Context(), "orders", "")
	if err != nil {
		t.Error(err)
	}
	for _, pos := range positions {
		if pos.Owner != "" || pos.Lag() != 0 {
			t.Errorf("at the end: %+v", pos)
		}
	}
}

func chaos(t *testing.T, seed uint64, keyed bool) {
	const steps = 60
	keys, events := 10, 60
	if !keyed {
		keys, events = 600, 1 // each is by itself
	}
	r := rand.New(rand.NewPCG(seed, 1))
	store := memory.NewLog()
	histories := chaosHistories(t, seed, keyed)
	publisher, err := bus.New(bus.Config{Log: store})
	if err != nil {
		t.Fatal(err)
	}
	source := chaosTopic(t, publisher, keyed)
	processes := []*process{startProcess(t, store.Connect(), histories, keyed)}

	var publishing sync.WaitGroup
	for number := range 10 {
		publishing.Go(func() {
			pace := rand.New(rand.NewPCG(seed, uint64(number)))
			for n := range 60 {
				o := order{fmt.Sprintf("k%d", number), n + 1}
				if !keyed {
					o = order{fmt.Sprintf("k%d", 60*number+n), 1}
				}
				if err := source.Publish(t.Context(), o); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(pace.IntN(30)) * time.Millisecond)
			}
		})
	}
	for range steps {
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
		i := r.IntN(len(processes))
		p := processes[i]
		s := p.subs[r.IntN(len(p.subs))]
		p.checkStats()
		if t.Failed() {
			break
		}
		what := r.IntN(10)
		t.Logf("%s: %s of %s: %d", time.Now().Format("05.000"), s.name, p.name, what)
		switch {
		case p.step(s, what):
		case what == 8:
			if len(processes) < 3 {
				processes = append(processes, startProcess(t, store.Connect(), histories, keyed))
			}
		default:
			p.end(r.IntN(2) == 0)
			processes[i] = startProcess(t, store.Connect(), histories, keyed)
		}
	}
	publishing.Wait()
	awaitAll(t, histories, processes, keys, events)
	for _, p := range processes {
		p.shut()
	}
	if err := publisher.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	checkPositions(t, store.Connect())
}
