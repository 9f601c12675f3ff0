package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
)

const slowText = "a handler runs longer than Config.SlowHandler"

// slowOnes are the fields of what was told of slow handlers.
func slowOnes(logs *observer.ObservedLogs) (all []map[string]any) {
	for _, e := range logs.FilterMessage(slowText).All() {
		all = append(all, e.ContextMap())
	}
	return all
}

// requireFields compares fields of one entry, given as name and value in turn.
func requireFields(t *testing.T, entry map[string]any, want ...any) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		if got := entry[want[i].(string)]; fmt.Sprint(got) != fmt.Sprint(want[i+1]) {
			t.Errorf("%v is %v, want %v, in %v", want[i], got, want[i+1], entry)
		}
	}
}

// nap is what the stacks below must show.
func nap(d time.Duration) { time.Sleep(d) }

// slowKinds are the ways in which a handler gets events; each calls h for each event, or batch.
var slowKinds = []struct {
	name  string
	batch bool
	use   func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription
}{
	{"log", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h(e) })
	}},
	{"log beside a group", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h(e) }, bus.Group("g"))
	}},
	{"middleware", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h(e) }, bus.Use(func(next bus.Handler) bus.Handler {
			return func(ctx context.Context, d *bus.Delivery) error { return next(ctx, d) }
		}))
	}},
	{"drop oldest", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h(e) }, bus.Mailbox(8, bus.DropOldest))
	}},
	{"keep latest", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		return subscribe(t, topic, "s", func(_ context.Context, e event) error { return h(e) }, bus.Mailbox(8, bus.KeepLatest))
	}},
	{"actors", false, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		s, err := topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[event], error) {
			return bus.Actor[event]{Handle: func(_ context.Context, e event) error { return h(e) }}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}},
	{"batch", true, func(t *testing.T, topic *bus.Topic[event], h func(event) error) *bus.Subscription {
		s, err := topic.SubscribeBatch(context.Background(), "s", func(_ context.Context, batch []bus.Message[event]) error {
			return h(batch[0].Value)
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}},
}

// Whatever the kind of handler, an attempt that runs too long is told of once, with all that is
// needed to find it, and the quick ones around it are not.
func TestSlowHandler(t *testing.T) {
	for _, kind := range slowKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logs := observed()
				b := newBus(t, bus.Config{Logger: log})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
				s := kind.use(t, topic, func(e event) error {
					if e.N < 0 {
						nap(time.Duration(-e.N) * time.Second)
					}
					return nil
				})
				for i := range 1000 {
					publish(t, topic, event{Key: "quick", N: i})
					if i%100 == 0 {
						synctest.Wait()
					}
				}
				for _, n := range []int{-9, -30, 0, -1, -100} { // seconds
					publish(t, topic, event{Key: fmt.Sprint("k", -n), N: n})
					time.Sleep(200 * time.Second)
				}
				all := slowOnes(logs)
				if len(all) != 2 {
					t.Fatalf("%d attempts are told of, want 2: %v", len(all), all)
				}
				for i, key := range []string{"k30", "k100"} {
					requireFields(t, all[i], "topic", "jobs", "subscription", "s", "key", key, "attempt", 1)
					if _, ok := all[i]["lane"].(int64); !ok {
						t.Errorf("no lane: %v", all[i])
					}
					if state := fmt.Sprint(all[i]["state"]); !strings.HasPrefix(state, "sleep") {
						t.Errorf("state %q", state)
					}
					if stack := fmt.Sprint(all[i]["stack"]); !strings.Contains(stack, "bus_test.nap(") || strings.Contains(stack, "bus.(*lane") {
						t.Errorf("stack:\n%s", stack)
					}
					if d, ok := all[i]["running_for"].(time.Duration); !ok || d < 10*time.Second || d > 12*time.Second+500*time.Millisecond {
						t.Errorf("running_for %v", all[i]["running_for"])
					}
				}
				if st := stats(t, s); st.Slow != 2 {
					t.Errorf("Slow is %d", st.Slow)
				}
			})
		})
	}
}

// Of a key's retries each is an attempt of its own.
func TestSlowRetries(t *testing.T) {
	for _, kind := range slowKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logs := observed()
				b := newBus(t, bus.Config{Logger: log})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
				attempts := 0
				s := kind.use(t, topic, func(event) error {
					if attempts++; attempts == 4 {
						return nil
					}
					nap(30 * time.Second)
					return bus.RetryAfter(time.Second, errors.New("not yet"))
				})
				publish(t, topic, event{Key: "k", N: 1})
				time.Sleep(1000 * time.Second)
				all := slowOnes(logs)
				if len(all) != 3 {
					t.Fatalf("%d attempts are told of, want 3: %v", len(all), all)
				}
				for i := range all {
					requireFields(t, all[i], "key", "k", "attempt", i+1)
				}
				if st := stats(t, s); st.Slow != 3 || st.Handled != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// Slow ones one after another, without a pause in which the lane would end its goroutine: each is
// told of, although the watch lets alone what it has told of.
func TestSlowInARow(t *testing.T) {
	for _, kind := range slowKinds {
		t.Run(kind.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log, logs := observed()
				b := newBus(t, bus.Config{Logger: log})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
				s := kind.use(t, topic, func(event) error { nap(time.Hour); return nil })
				for i := range 3 {
					publish(t, topic, event{Key: fmt.Sprint("k", i), N: i})
				}
				time.Sleep(10 * time.Hour)
				want := 3
				if kind.batch {
					want = int(stats(t, s).Slow)
					if want != 1 && want != 2 && want != 3 {
						t.Errorf("%d batches", want)
					}
				}
				all := slowOnes(logs)
				if len(all) != want || stats(t, s).Slow != uint64(want) {
					t.Fatalf("%d attempts are told of, %d counted, want %d", len(all), stats(t, s).Slow, want)
				}
			})
		})
	}
}

func TestSlowBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		b := newBus(t, bus.Config{Logger: log})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
		s, err := topic.SubscribeBatch(context.Background(), "s", func(context.Context, []bus.Message[event]) error {
			nap(time.Minute)
			return nil
		}, bus.BatchSize(3), bus.BatchLinger(time.Second), bus.Lanes(1))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, topic, event{Key: "a"}, event{Key: "b"}, event{Key: "c"})
		time.Sleep(time.Hour)
		all := slowOnes(logs)
		if len(all) != 1 {
			t.Fatalf("%v", all)
		}
		requireFields(t, all[0], "events", 3, "key", "a", "lane", 0)
		if st := stats(t, s); st.Slow != 1 || st.Handled != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// A negative SlowHandler is off, and a short one is kept.
func TestSlowHandlerSetting(t *testing.T) {
	for set, want := range map[time.Duration]int{-1: 0, 0: 1, time.Second: 2, time.Nanosecond: 3, time.Hour: 0} {
		synctest.Test(t, func(t *testing.T) {
			log, logs := observed()
			b := newBus(t, bus.Config{Logger: log, SlowHandler: set})
			topic := newTopic(t, b, bus.TopicConfig[time.Duration]{Name: "jobs"})
			subscribe(t, topic, "s", func(_ context.Context, d time.Duration) error { nap(d); return nil })
			for _, d := range []time.Duration{0, 100 * time.Millisecond, 5 * time.Second, time.Minute} {
				publish(t, topic, d)
				time.Sleep(2 * time.Minute)
			}
			all := slowOnes(logs)
			if len(all) != want {
				t.Errorf("with %v %d attempts are told of, want %d", set, len(all), want)
			}
			for _, entry := range all {
				requireFields(t, entry, "key", "")
			}
		})
	}
}

// What comes after the handler is not its doing: OnDeadLetter may take its time.
func TestSlowOnDeadLetterIsNoSlowHandler(t *testing.T) {
	for _, batch := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log, logs := observed()
			b := newBus(t, bus.Config{Logger: log})
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs"})
			told := bus.OnDeadLetter(func(context.Context, bus.Letter) { nap(time.Hour) })
			if batch {
				if _, err := topic.SubscribeBatch(context.Background(), "s", func(context.Context, []bus.Message[event]) error { return errors.New("no") }, told); err != nil {
					t.Fatal(err)
				}
			} else {
				subscribe(t, topic, "s", func(context.Context, event) error { return errors.New("no") }, told)
			}
			publish(t, topic, event{})
			time.Sleep(2 * time.Hour)
			if all := slowOnes(logs); len(all) > 0 {
				t.Errorf("batch %t: %v", batch, all)
			}
		})
	}
}

// A handler that hangs is told of, and then the watch sleeps until there is something new: in a
// bubble time goes on for the test only.
func TestSlowWatchSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, logs := observed()
		b := newBus(t, bus.Config{Logger: log})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
		release := make(chan struct{})
		s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			if e.N == 0 {
				<-release
			}
			nap(time.Duration(e.N) * time.Second)
			return nil
		}, bus.Lanes(1))
		publish(t, topic, event{Key: "hangs"}, event{Key: "after", N: 20})
		start := time.Now()
		time.Sleep(100 * 365 * 24 * time.Hour) // looks, eight in 10 s, would take for ever
		if all := slowOnes(logs); len(all) != 1 {
			t.Fatalf("after %v: %v", time.Since(start), all)
		}
		close(release)
		time.Sleep(time.Minute)
		all := slowOnes(logs)
		if len(all) != 2 || stats(t, s).Slow != 2 {
			t.Fatalf("%v", all)
		}
		requireFields(t, all[0], "key", "hangs")
		requireFields(t, all[1], "key", "after")
	})
}

// Attempts that end as they are looked at, in all kinds of mailbox, under the race detector.
func TestSlowInspectionRace(t *testing.T) {
	for _, kind := range slowKinds {
		t.Run(kind.name, func(t *testing.T) {
			log, logs := observed()
			b := newBus(t, bus.Config{Logger: log, SlowHandler: time.Nanosecond})
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "jobs", Key: eventKey})
			var tried sync.Map
			s := kind.use(t, topic, func(e event) error {
				if e.N%7 == 0 {
					time.Sleep(time.Duration(e.N%30) * time.Millisecond)
				}
				if _, again := tried.LoadOrStore(e.N, true); e.N%35 == 0 && !again {
					return bus.RetryAfter(time.Millisecond, errors.New("again"))
				}
				return nil
			})
			for i := range 1000 {
				publish(t, topic, event{Key: fmt.Sprint("key", i), N: i})
				if i%100 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			shutdown(t, b)
			known := 0
			for _, entry := range slowOnes(logs) {
				if key, ok := entry["key"].(string); ok {
					known++
					if !strings.HasPrefix(key, "key") {
						t.Errorf("key %q: %v", key, entry)
					}
				}
			}
			t.Logf("%d of %d attempts told of with their keys, %d counted", known, len(slowOnes(logs)), stats(t, s).Slow)
		})
	}
}
