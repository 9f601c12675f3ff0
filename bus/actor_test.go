package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// stage records what happens to actors, by key.
type stage struct {
	mu    sync.Mutex
	built map[string]int
	ended map[string][]int // what each actor had counted when it was stopped
	live  int
	most  int
}

// counter builds actors that count the events of their key, and panic at -1.
func (st *stage) counter(_ context.Context, key string) (bus.Actor[event], error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.built == nil {
		st.built, st.ended = map[string]int{}, map[string][]int{}
	}
	st.built[key]++
	st.live++
	st.most = max(st.most, st.live)
	n := 0
	return bus.Actor[event]{
		Handle: func(_ context.Context, e event) error {
			if e.N < 0 {
				st.mu.Lock()
				st.live--
				st.mu.Unlock()
				panic("counter " + key)
			}
			n++
			return nil
		},
		Stop: func(ctx context.Context) error {
			st.mu.Lock()
			defer st.mu.Unlock()
			st.live--
			st.ended[key] = append(st.ended[key], n)
			return ctx.Err()
		},
	}, nil
}

func (st *stage) counts(key string) (built int, ended []int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.built[key], slices.Clone(st.ended[key])
}

func spawn(t *testing.T, topic *bus.Topic[event], build func(context.Context, string) (bus.Actor[event], error), opts ...bus.ActorOption) *bus.Subscription {
	t.Helper()
	s, err := topic.Spawn(context.Background(), "actors", build, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An actor is built for a key, keeps its state, is stopped when it is idle, and
// built again when an event comes.
func TestActorsAreBuiltAndPassivated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		st := &stage{}
		s := spawn(t, topic, st.counter, bus.IdleTimeout(time.Minute), bus.Lanes(3))
		for i := range 5 {
			publish(t, topic, event{"a", i}, event{"b", i})
		}
		for range 4 { // a is kept busy, b is not
			time.Sleep(30 * time.Second)
			publish(t, topic, event{"a", 1})
		}
		synctest.Wait()
		if built, ended := st.counts("b"); built != 1 || !slices.Equal(ended, []int{5}) {
			t.Errorf("b was built %d times and ended as %v", built, ended)
		}
		if built, ended := st.counts("a"); built != 1 || len(ended) != 0 {
			t.Errorf("a was built %d times and ended as %v", built, ended)
		}
		publish(t, topic, event{"b", 1})
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, ended := st.counts("a"); !slices.Equal(ended, []int{9}) {
			t.Errorf("a ended as %v", ended)
		}
		if built, ended := st.counts("b"); built != 2 || !slices.Equal(ended, []int{5, 1}) {
			t.Errorf("b was built %d times and ended as %v", built, ended)
		}
		if got := stats(t, s); got.Handled != 15 {
			t.Errorf("%v", got)
		}
	})
}

// A panic rebuilds that key's actor after a back-off; other keys go on; a key
// that keeps failing dead-letters its event with stack and attempts.
func TestActorThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		st := &stage{}
		s := spawn(t, topic, st.counter)
		publish(t, topic, event{"bad", 1}, event{"bad", -1}, event{"bad", 2}, event{"good", 1})
		synctest.Wait()
		if got := stats(t, s); got.Handled != 2 || got.Deferred != 2 {
			t.Errorf("the good key waited: %v", got)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stats(t, s); got.Handled != 3 || got.DeadLettered != 1 || got.Panicked != 5 || got.Retried != 4 {
			t.Errorf("%v", got)
		}
		letter := s.DeadLetters()[0]
		if letter.Attempts != 5 || len(letter.Stack) == 0 || letter.Delivery.Key() != "bad" {
			t.Errorf("%+v", letter)
		}
		// The state of an actor that panicked is gone with it.
		if built, ended := st.counts("bad"); built != 6 || !slices.Equal(ended, []int{1}) {
			t.Errorf("bad was built %d times and ended as %v", built, ended)
		}
	})
}

func TestActorThatCannotBeBuilt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
		cause := errors.New("no database")
		s := spawn(t, topic, func(_ context.Context, key string) (bus.Actor[event], error) {
			switch key {
			case "panics":
				panic(cause)
			case "fails":
				return bus.Actor[event]{}, cause
			case "verdict":
				return bus.Actor[event]{}, bus.Discard(cause)
			}
			return bus.Actor[event]{}, nil
		})
		publish(t, topic, event{"panics", 1}, event{"fails", 1}, event{"verdict", 1}, event{"empty", 1}, event{"", 1})
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := stats(t, s); got.DeadLettered != 4 || got.Discarded != 1 {
			t.Errorf("%v", got)
		}
		want := map[string]error{"panics": cause, "fails": cause, "empty": bus.ErrNilHandler, "": bus.ErrNoKey}
		for _, l := range s.DeadLetters() {
			if !errors.Is(l.Err, want[l.Delivery.Key()]) {
				t.Errorf("key %q: %v", l.Delivery.Key(), l.Err)
			}
		}
	})
}

func TestMaxActive(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
	st := &stage{}
	s := spawn(t, topic, st.counter, bus.MaxActors(10))
	for i := range 1000 {
		publish(t, topic, event{fmt.Sprint("k", i%50), i})
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st.most > 10 || st.live != 0 {
		t.Errorf("%d actors at once, %d in the end", st.most, st.live)
	}
	if got := stats(t, s); got.Handled != 1000 {
		t.Errorf("%v", got)
	}
}

func TestSpawnErrors(t *testing.T) {
	b := newBus(t, bus.Config{})
	keyed := newTopic(t, b, bus.TopicConfig[event]{Name: "keyed", Key: eventKey})
	plain := newTopic(t, b, bus.TopicConfig[event]{Name: "plain"})
	build := (&stage{}).counter
	for _, tc := range []struct {
		topic *bus.Topic[event]
		build func(context.Context, string) (bus.Actor[event], error)
		opts  []bus.ActorOption
		want  error
	}{
		{keyed, nil, nil, bus.ErrNilHandler},
		{plain, build, nil, bus.ErrInvalidConfig},
		{keyed, build, []bus.ActorOption{bus.IdleTimeout(-1)}, bus.ErrInvalidConfig},
		{keyed, build, []bus.ActorOption{bus.MaxActors(0)}, bus.ErrInvalidConfig},
		{keyed, build, []bus.ActorOption{nil}, bus.ErrInvalidConfig},
	} {
		if _, err := tc.topic.Spawn(t.Context(), "s", tc.build, tc.opts...); !errors.Is(err, tc.want) {
			t.Errorf("%v, want %v", err, tc.want)
		}
	}
}

// A Stop that fails or panics harms no other actor, and is called with a live
// context also by Close.
func TestActorsThatDoNotStop(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
	var mu sync.Mutex
	var stopped []string
	handled := make(chan struct{}, 3)
	spawn(t, topic, func(_ context.Context, key string) (bus.Actor[event], error) {
		return bus.Actor[event]{
			Handle: func(context.Context, event) error { handled <- struct{}{}; return nil },
			Stop: func(ctx context.Context) error {
				mu.Lock()
				stopped = append(stopped, key)
				mu.Unlock()
				if ctx.Err() != nil {
					t.Error("Stop was given a context that had ended")
				}
				if key == "panics" {
					panic("no")
				}
				return errors.New("no")
			},
		}, nil
	})
	for _, k := range []string{"panics", "fails", "last"} {
		publish(t, topic, event{k, 1})
		<-handled
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if len(stopped) != 3 {
		t.Errorf("stopped: %v", stopped)
	}
}

// Drain, Shutdown and Close don't wait for a Stop that hangs longer than they
// said they would.
func TestEndIsBoundedBesideStop(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, b *bus.Bus, s *bus.Subscription) error{
		"drain":    func(ctx context.Context, _ *bus.Bus, s *bus.Subscription) error { return s.Drain(ctx) },
		"shutdown": func(ctx context.Context, b *bus.Bus, _ *bus.Subscription) error { return b.Shutdown(ctx) },
		"close":    func(_ context.Context, b *bus.Bus, _ *bus.Subscription) error { return b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{Grace: time.Second})
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				release := make(chan struct{})
				s := spawn(t, topic, func(context.Context, string) (bus.Actor[event], error) {
					return bus.Actor[event]{
						Handle: func(context.Context, event) error { return nil },
						Stop:   func(context.Context) error { <-release; return nil },
					}, nil
				})
				publish(t, topic, event{"a", 1})
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				start := time.Now()
				err := end(ctx, b, s)
				if err == nil || !strings.Contains(err.Error(), "actors have not stopped") || time.Since(start) != time.Second {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
				close(release)
				<-s.Done()
			})
		})
	}
}

// A million keys, each touched once, fit and are passivated; a tenth of them
// under the race detector, which makes each ten times as slow.
func TestAMillionActors(t *testing.T) {
	keys := 1_000_000
	if raceEnabled {
		keys /= 10
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Key: func(n int) string { return strconv.Itoa(n) }})
		live := 0
		s, err := topic.Spawn(t.Context(), "s", func(context.Context, string) (bus.Actor[int], error) {
			live++
			return bus.Actor[int]{
				Handle: func(context.Context, int) error { return nil },
				Stop:   func(context.Context) error { live--; return nil },
			}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		batch := make([]int, 1000)
		for i := 0; i < keys; i += len(batch) {
			for j := range batch {
				batch[j] = i + j
			}
			if err := topic.PublishBatch(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if live != 0 {
			t.Errorf("%d actors are left after an idle time-out", live)
		}
		if got := s.Stats(); got.Handled != uint64(keys) {
			t.Errorf("%v", got)
		}
	})
}
