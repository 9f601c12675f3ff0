package middleware_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/middleware"
	"pgregory.net/rapid"
)

// record is a handler that keeps the IDs it handled.
type record struct {
	mu  sync.Mutex
	ids []string // guarded by mu
}

func (r *record) handle(_ context.Context, m bus.Message[job]) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids = append(r.ids, m.ID.String())
	return nil
}

func TestDedup(t *testing.T) {
	b, topic := newTopic(t, bus.Config{})
	var r record
	var outside spy
	sub := subscribe(t, topic, r.handle, bus.Use(outside.middleware, middleware.Dedup(middleware.DedupConfig{})))
	for _, id := range []string{"a", "b", "a", "c", "b", "a"} {
		publish(t, topic, job{}, bus.ID(id))
	}
	shutdown(t, b, sub)
	if !slices.Equal(r.ids, []string{"a", "b", "c"}) {
		t.Errorf("handled %v", r.ids)
	}
	if st := sub.Stats(); st.Handled != 3 || st.Discarded != 3 || len(sub.DeadLetters()) != 0 {
		t.Error(st)
	}
	v, ok := bus.VerdictOf(outside.seen()[2])
	if !ok || v.Action != bus.ActionDiscard || !errors.Is(v, middleware.ErrDuplicate) {
		t.Errorf("a repetition is %v", outside.seen()[2])
	}
}

// Each subscription has a window of its own, also of one middleware value.
func TestDedupPerSubscription(t *testing.T) {
	var r record
	b, topic := newTopic(t, bus.Config{Use: []bus.Middleware{middleware.Dedup(middleware.DedupConfig{})}})
	for _, name := range []string{"one", "two"} {
		must[*bus.Subscription](t)(topic.SubscribeMessage(t.Context(), name, r.handle))
	}
	publish(t, topic, job{}, bus.ID("a"))
	publish(t, topic, job{}, bus.ID("a"))
	shutdown(t, b)
	if !slices.Equal(r.ids, []string{"a", "a"}) {
		t.Errorf("handled %v", r.ids)
	}
}

// What has neither ID nor key is not a repetition of anything.
func TestDedupPassesNameless(t *testing.T) {
	for name, cfg := range map[string]middleware.DedupConfig{
		"no ID":  {},
		"no key": {Key: func(d *bus.Delivery) string { return d.Key() }},
	} {
		t.Run(name, func(t *testing.T) {
			var r record
			b, topic := newFake(t)
			sub := subscribe(t, topic, r.handle, bus.Use(middleware.Dedup(cfg)))
			for range 3 {
				b.Poison("jobs", []byte(`{}`))
			}
			bustest.WaitIdle(t, b)
			if len(r.ids) != 3 {
				t.Errorf("handled %q: %v", r.ids, sub.Stats())
			}
		})
	}
}

func TestDedupByKey(t *testing.T) {
	b, topic := newFake(t)
	var r record
	subscribe(t, topic, r.handle, bus.Use(middleware.Codec(nil), middleware.Dedup(middleware.DedupConfig{Key: func(d *bus.Delivery) string {
		if j, ok := bus.Value[job](d); ok && j.N != 0 {
			return strconv.Itoa(j.N)
		}
		return ""
	}})))
	for _, n := range []int{1, 0, 2, 1, 0, 3, 2} {
		publish(t, topic, job{N: n})
	}
	bustest.WaitIdle(t, b)
	var handled []int
	for _, m := range bustest.Handled(t, b, jobs, "worker") {
		handled = append(handled, m.Value.N)
	}
	if !slices.Equal(handled, []int{1, 0, 2, 0, 3}) {
		t.Errorf("handled %v", handled)
	}
}

// What a publisher, or a broker, repeats because an answer was lost, takes effect once.
func TestDedupOfLostAnswers(t *testing.T) {
	b, topic := newFake(t)
	var r record
	sub := subscribe(t, topic, r.handle, bus.Use(middleware.Dedup(middleware.DedupConfig{})))
	b.Duplicate("jobs", 1)
	publish(t, topic, job{}, bus.ID("a"))
	b.LoseReply("jobs", 1, errBroken)
	if err := topic.Publish(t.Context(), job{}, bus.ID("b")); !errors.Is(err, errBroken) {
		t.Fatal(err)
	}
	publish(t, topic, job{}, bus.ID("b"))
	bustest.Redeliver(t, b, jobs)
	bustest.WaitIdle(t, b)
	if st := sub.Stats(); !slices.Equal(r.ids, []string{"a", "b"}) || st.Discarded != 5 {
		t.Errorf("handled %v: %v", r.ids, st)
	}
}

func TestDedupForgets(t *testing.T) {
	t.Run("oldest", func(t *testing.T) {
		b, topic := newTopic(t, bus.Config{})
		var r record
		sub := subscribe(t, topic, r.handle, bus.Use(middleware.Dedup(middleware.DedupConfig{Size: 2})))
		for _, id := range []string{"a", "b", "a", "c", "b", "a", "c"} { // the second a does not make a younger
			publish(t, topic, job{}, bus.ID(id))
		}
		shutdown(t, b, sub)
		if !slices.Equal(r.ids, []string{"a", "b", "c", "a"}) {
			t.Errorf("handled %v", r.ids)
		}
	})
	t.Run("expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, topic := newTopic(t, bus.Config{})
			var r record
			sub := subscribe(t, topic, r.handle, bus.Use(middleware.Dedup(middleware.DedupConfig{TTL: time.Minute})))
			for _, id := range []string{"a", "b", "a"} {
				publish(t, topic, job{}, bus.ID(id))
				time.Sleep(29 * time.Second)
			}
			publish(t, topic, job{}, bus.ID("a")) // 87 s after the first
			publish(t, topic, job{}, bus.ID("b")) // 58 s after the first
			shutdown(t, b, sub)
			if !slices.Equal(r.ids, []string{"a", "b", "a"}) {
				t.Errorf("handled %v", r.ids)
			}
		})
	})
}

// A failure is not remembered: the repetition is handled, and so is a dead letter that is replayed
// under its old ID.
func TestDedupAfterFailure(t *testing.T) {
	b, topic := newTopic(t, bus.Config{})
	broken := true
	var r record
	sub := subscribe(t, topic, func(ctx context.Context, m bus.Message[job]) error {
		if broken {
			return errBroken
		}
		return r.handle(ctx, m)
	}, bus.Use(middleware.Dedup(middleware.DedupConfig{})))
	settled := func(n int) {
		for sub.Stats().Pending() > 0 || sub.Stats().Accepted < uint64(n) {
			runtime.Gosched()
		}
	}
	publish(t, topic, job{}, bus.ID("a"))
	settled(1)
	publish(t, topic, job{}, bus.ID("b"))
	settled(2)
	broken = false
	publish(t, topic, job{}, bus.ID("a"))
	settled(3)
	if n, err := sub.Replay(t.Context(), nil); n != 2 || err != nil {
		t.Fatalf("replayed %d: %v", n, err)
	}
	shutdown(t, b, sub)
	if !slices.Equal(r.ids, []string{"a", "b"}) {
		t.Errorf("handled %v", r.ids)
	}
	if st := sub.Stats(); st.Discarded != 1 {
		t.Error(st)
	}
}

// One lane, any sequence: Dedup does what a list of the last Size successes would.
func TestDedupModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(rt, "size")
		type event struct {
			id    int
			fails bool
		}
		events := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) event {
			return event{rapid.IntRange(0, 5).Draw(rt, "id"), rapid.Bool().Draw(rt, "fails")}
		}), 0, 60).Draw(rt, "events")

		var want []int // indices that reach the handler
		var window []int
		for i, e := range events {
			if slices.Contains(window, e.id) {
				continue
			}
			want = append(want, i)
			if !e.fails {
				window = append(window, e.id)
				window = window[max(0, len(window)-size):]
			}
		}

		b, topic := newTopic(t, bus.Config{})
		var got []int
		sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
			got = append(got, m.Value.N)
			if events[m.Value.N].fails {
				return errBroken
			}
			return nil
		}, bus.Use(middleware.Dedup(middleware.DedupConfig{Size: size})))
		for i, e := range events {
			publish(t, topic, job{N: i}, bus.ID(strconv.Itoa(e.id)))
		}
		shutdown(t, b, sub)
		if !slices.Equal(got, want) {
			rt.Fatalf("size %d, events %v: handled %v, want %v", size, events, got, want)
		}
	})
}

// Many lanes, repetitions everywhere, failures and panics: each ID takes effect once, and never
// runs twice at once.
func TestDedupStress(t *testing.T) {
	const ids, copies = 300, 4
	b, topic := newTopic(t, bus.Config{})
	var running, handled [ids]atomic.Int32
	sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
		if running[m.Value.N].Add(1) != 1 {
			t.Errorf("ID %d runs twice at once", m.Value.N)
		}
		defer running[m.Value.N].Add(-1)
		runtime.Gosched()
		switch rand.IntN(10) {
		case 0, 1, 2:
			return errBroken
		case 3:
			panic("broken")
		}
		handled[m.Value.N].Add(1)
		return nil
	}, bus.Lanes(8), bus.PanicBudget(1<<20, time.Second), bus.Use(
		middleware.Dedup(middleware.DedupConfig{Wait: time.Millisecond}),
		middleware.Retry(middleware.RetryConfig{MaxAttempts: -1, InitialDelay: time.Microsecond, MaxDelay: time.Millisecond})))
	var publishers sync.WaitGroup
	for range copies {
		publishers.Go(func() {
			for _, n := range rand.Perm(ids) {
				if err := topic.Publish(t.Context(), job{N: n}, bus.ID(strconv.Itoa(n))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	publishers.Wait()
	shutdown(t, b, sub)
	for n := range handled {
		if c := handled[n].Load(); c != 1 {
			t.Errorf("ID %d took effect %d times", n, c)
		}
	}
	if st := sub.Stats(); st.Handled != ids || st.Discarded != ids*(copies-1) {
		t.Error(st)
	}
}

func BenchmarkDedup(b *testing.B) {
	n := 0
	benchmarkChain(b, delivery(), middleware.Dedup(middleware.DedupConfig{Key: func(*bus.Delivery) string {
		n++
		return benchKeys[n%len(benchKeys)]
	}}))
}

// benchKeys are more than a window remembers, so that each is new again.
var benchKeys = func() []string {
	keys := make([]string, 20_000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	return keys
}()
