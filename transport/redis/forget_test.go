package redis_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// arrivals is what a subscription got, in order: each event with its publisher.
type arrivals struct {
	mu  sync.Mutex
	all []string
}

func (a *arrivals) subscribe(t *testing.T, topic *bus.Topic[int]) *bus.Subscription {
	t.Helper()
	sub, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil }, bus.Use(func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if err := d.Decode(nil); err != nil {
				return err
			}
			n, _ := bus.Value[int](d)
			a.mu.Lock()
			a.all = append(a.all, fmt.Sprint(*n, " by ", d.Publisher()))
			a.mu.Unlock()
			return next(ctx, d)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func (a *arrivals) get() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

// TestTopicIsMadeAgain: a topic that is closed and made again goes on with its numbers as long as they are remembered, and has
// another publisher afterwards. Who stays subscribed gets every event once, in order, and no gap, also after a fault.
func TestTopicIsMadeAgain(t *testing.T) {
	for name, repair := range map[string]redis.Repair{"repair": {}, "no repair": {Off: true}} {
		t.Run(name, func(t *testing.T) {
			inOneBubble(t, fakecluster.Config{Primaries: 2}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
				cfg.Repair = repair
				b, other := newBusWith(t, cfg), newBusWith(t, cfg)
				var far arrivals
				stays := far.subscribe(t, newTopic(t, other, bus.TopicConfig[int]{Name: "n"}))
				n := 0
				var want []string
				once := func(publisher string) {
					t.Helper()
					topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
					var near arrivals
					near.subscribe(t, topic)
					var mine []string
					for range 3 {
						n++
						if err := topic.Publish(t.Context(), n); err != nil {
							t.Fatal(err)
						}
						mine = append(mine, fmt.Sprint(n, " by ", publisher))
					}
					if err := topic.Close(t.Context()); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Second)
					synctest.Wait()
					want = append(want, mine...)
					if got := near.get(); !slices.Equal(got, mine) {
						t.Errorf("here: %v, want %v", got, mine)
					}
					if got := far.get(); !slices.Equal(got, want) {
						t.Errorf("there: %v, want %v", got, want)
					}
				}
				id := b.ID()
				once(id)
				once(id)
				time.Sleep(20 * time.Second)
				once(id)
				time.Sleep(32 * time.Second)
				once(id + ".1")
				once(id + ".1")
				for _, node := range c.Nodes() {
					c.KillClients(node, "pubsub")
				}
				time.Sleep(30 * time.Second)
				once(id + ".2")
				time.Sleep(2 * time.Minute)
				for _, node := range c.Nodes() {
					c.KillClients(node, "pubsub")
				}
				time.Sleep(time.Minute)
				once(id + ".3")
				if gaps := stays.Gaps(); len(gaps) > 0 {
					t.Error(gaps)
				}
			})
		})
	}
}

// TestTopicCloseLeavesNothing: topics that were made, published on and closed leave nothing in the process, and no channel and
// no connection at the server.
func TestTopicCloseLeavesNothing(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	open := func() (*redis.Transport, *bus.Bus) {
		tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{s.Addr()}, Repair: redis.Repair{Age: 100 * time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		b, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := errors.Join(b.Close(), tr.Close()); err != nil {
				t.Error(err)
			}
		})
		return tr, b
	}
	tr, b := open()
	_, other := open()
	stays := newTopic(t, b, bus.TopicConfig[int]{Name: "stays"})
	if _, err := stays.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := stays.Publish(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	const names = 400
	name := func(i int) string { return fmt.Sprint("topic.", i%names) }
	use := func(n int) {
		var using sync.WaitGroup
		for w := range 10 {
			using.Go(func() {
				for i := w; i < n; i += 10 {
					topic, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: name(i), Partitions: i % 3})
					if err != nil {
						t.Error(err)
						return
					}
					var far *bus.Topic[int]
					var errs []error
					if i%10 == w {
						far, err = bus.NewTopic(other, bus.TopicConfig[int]{Name: name(i), Partitions: i % 3})
						errs = append(errs, err)
						_, err = far.Subscribe(t.Context(), "far", func(context.Context, int) error { return nil })
						errs = append(errs, err)
					}
					_, err = topic.Subscribe(t.Context(), "near", func(context.Context, int) error { return nil })
					errs = append(errs, err, topic.Publish(t.Context(), i), topic.Close(t.Context()))
					if far != nil {
						errs = append(errs, far.Close(t.Context()))
					}
					if err := errors.Join(errs...); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		using.Wait()
		eventually(t, "all topics are forgotten", func() error {
			for i := range names {
				if l := tr.Ledger(transport.Topic{Name: name(i)}); l != (redis.Ledger{}) {
					return fmt.Errorf("%s: %+v", name(i), l)
				}
			}
			return nil
		})
	}
	// channels are those at the server but where publishers that are gone were asked, which are left after half a minute.
	channels := func() (listed []string) {
		reply, err := s.Do(t.Context(), "PUBSUB", "SHARDCHANNELS")
		if err != nil {
			t.Fatal(err)
		}
		for _, channel := range reply.([]any) {
			text := fmt.Sprint(channel)
			gone := strings.Contains(text, b.ID()+".") || strings.Contains(text, other.ID()+".")
			if !gone && !strings.Contains(text, ":probe:") { // which come and go
				listed = append(listed, text)
			}
		}
		slices.Sort(listed)
		return listed
	}
	connections := func() int {
		reply, err := s.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(fmt.Sprint(reply), "addr=")
	}
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	use(500)
	before, goroutines, listened, connected := heap(), runtime.NumGoroutine(), channels(), connections()
	use(2000)
	after := heap()
	if after > before+1<<20 {
		t.Errorf("the heap had %d bytes, and has %d", before, after)
	}
	t.Logf("the heap had %d bytes, and has %d", before, after)
	eventually(t, "goroutines, channels and connections are as before", func() error {
		if n, c, k := runtime.NumGoroutine(), channels(), connections(); n > goroutines+4 || len(c) > len(listened) || k > connected {
			return fmt.Errorf("%d goroutines, there were %d; channels %q, there were %q; %d connections, there were %d",
				n, goroutines, c, listened, k, connected)
		}
		return nil
	})
}

// TestTopicIsMadeAgainUnderLoad: while others publish, a topic is closed and made again, time after time. What they were told is
// accepted is handled once here and once on another bus, and nothing else is.
func TestTopicIsMadeAgainUnderLoad(t *testing.T) {
	type event struct{ P, N int }
	s := redistest.Standalone(t, redistest.Config{})
	for _, age := range []time.Duration{10 * time.Millisecond, 30 * time.Second} {
		t.Run(age.String(), func(t *testing.T) {
			cfg := redis.Config{Addrs: []string{s.Addr()}, Repair: redis.Repair{Age: age}}
			b, other := newBusWith(t, cfg), newBusWith(t, cfg)
			name := "load." + age.String()
			var near, far, accepted atomic.Int64
			var seen sync.Map
			farSub, err := newTopic(t, other, bus.TopicConfig[event]{Name: name}).Subscribe(t.Context(), "far", func(_ context.Context, e event) error {
				far.Add(1)
				if _, again := seen.LoadOrStore(e, true); again {
					t.Errorf("%v came again", e)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var current atomic.Pointer[bus.Topic[event]]
			made := func() (*bus.Topic[event], *bus.Subscription) {
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: name})
				sub, err := topic.Subscribe(t.Context(), "near", func(context.Context, event) error { near.Add(1); return nil })
				if err != nil {
					t.Fatal(err)
				}
				current.Store(topic)
				return topic, sub
			}
			topic, sub := made()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var publishers sync.WaitGroup
			for p := range 4 {
				publishers.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						switch err := current.Load().Publish(t.Context(), event{p, n}); {
						case err == nil:
							accepted.Add(1)
						case errors.Is(err, bus.ErrTopicClosed):
							time.Sleep(100 * time.Microsecond)
						default:
							t.Error(err)
							return
						}
					}
				})
			}
			for round := range 60 {
				for was := accepted.Load(); accepted.Load() < was+20 && !t.Failed(); {
					time.Sleep(time.Millisecond)
				}
				if err := topic.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if st := sub.Stats(); st.Handled != st.Accepted || !st.Balanced() || st.Lost+st.Uncertain+st.Unmeasured > 0 {
					t.Errorf("%v", st)
				}
				if round%5 == 0 {
					time.Sleep(15 * time.Millisecond) // longer than the shorter age
				}
				topic, sub = made()
			}
			cancel()
			publishers.Wait()
			if err := topic.Close(t.Context()); err != nil {
				t.Error(err)
			}
			eventually(t, "all is handled on the other bus", func() error {
				if n := accepted.Load(); far.Load() != n || near.Load() != n {
					return fmt.Errorf("%d accepted, %d handled here and %d there; %v", n, near.Load(), far.Load(), farSub.Gaps())
				}
				return nil
			})
			if st := farSub.Stats(); st.Lost+st.Uncertain+st.Unmeasured > 0 || len(farSub.Gaps()) > 0 || !st.Balanced() {
				t.Errorf("%v, %v", st, farSub.Gaps())
			}
			t.Logf("%d accepted", accepted.Load())
		})
	}
}
