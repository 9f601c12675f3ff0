package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

var errBad = errors.New("bad")

// values are the events of letters.
func values[T any](t testing.TB, letters []bus.Letter) []T {
	t.Helper()
	var all []T
	for _, l := range letters {
		v, ok := bus.Value[T](l.Delivery)
		if !ok {
			t.Errorf("a letter without a value: %+v", l)
			continue
		}
		all = append(all, *v)
	}
	return all
}

// span is from, from+1, … to.
func span(from, to int) []int {
	all := make([]int, 0, to-from+1)
	for i := from; i <= to; i++ {
		all = append(all, i)
	}
	return all
}

// The last 1,000 are kept, oldest first; all are counted.
func TestThousandDeadLettersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(context.Context, int) error { return errBad }, bus.Mailbox(10_000, bus.Block))
		if err := topic.PublishBatch(t.Context(), span(1, 2500)); err != nil {
			t.Fatal(err)
		}
		shutdown(t, b)
		if st := stats(t, s); st.DeadLettered != 2500 {
			t.Errorf("%v", st)
		}
		if got := values[int](t, s.DeadLetters()); fmt.Sprint(got) != fmt.Sprint(span(1501, 2500)) {
			t.Errorf("%d letters: %v", len(got), got)
		}
	})
}

// The bound holds also when a Replay gives a letter back that it could not
// offer, after another had taken its place.
func TestDeadLettersStayBoundedBesideReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		gate := make(chan struct{})
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n == 1001 {
				<-gate
			}
			return errBad
		}, bus.Mailbox(1, bus.Block))
		publish(t, topic, span(1, 1001)...)
		synctest.Wait() // 1,000 letters, and 1001 runs
		publish(t, topic, 1002)
		s.Pause()
		ctx, cancel := context.WithCancel(t.Context())
		replayed := make(chan error)
		go func() {
			_, err := s.Replay(ctx, nil) // takes letter 1 and waits for room
			replayed <- err
		}()
		synctest.Wait()
		close(gate) // 1001 is a letter; the pause leaves 1002 in the mailbox
		synctest.Wait()
		cancel()
		if err := <-replayed; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if n := len(s.DeadLetters()); n != 1000 {
			t.Errorf("%d letters after the replay, at most 1000 are kept", n)
		}
		s.Resume()
		publish(t, topic, span(1003, 1100)...)
		synctest.Wait()
		if n := len(s.DeadLetters()); n != 1000 {
			t.Errorf("%d letters in the end, at most 1000 are kept", n)
		}
	})
}

// OnDeadLetter gets each letter whole, on the lane's goroutine and in order; its
// panic is logged and hurts nobody.
func TestOnDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		b := newBus(t, bus.Config{Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
		var got list[string]
		s := subscribe(t, topic, "worker", func(_ context.Context, n int) error {
			if n == 3 {
				return nil
			}
			return bus.DeadLetter(fmt.Errorf("%w: %d", errBad, n))
		}, bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
			v, _ := bus.Value[int](l.Delivery)
			got.add(fmt.Sprintf("%d %v %d %s/%s", *v, l.Err, l.Attempts, l.Delivery.Topic(), l.Delivery.Subscription()))
			if *v == 2 {
				panic("in the callback")
			}
		}))
		publish(t, topic, 1, 2, 3, 4)
		shutdown(t, b)
		got.require(t, "letters", "1 bad: 1 1 jobs/worker", "2 bad: 2 1 jobs/worker", "4 bad: 4 1 jobs/worker")
		if st := stats(t, s); st.DeadLettered != 3 || st.Handled != 1 || st.Panicked != 0 {
			t.Errorf("%v", st)
		}
		entries := logs.FilterMessage("OnDeadLetter panicked").All()
		if len(entries) != 1 {
			t.Fatalf("%d log entries", len(entries))
		}
		fields := entries[0].ContextMap()
		if fields["topic"] != "jobs" || fields["subscription"] != "worker" || fields["panic"] != "in the callback" {
			t.Errorf("%v", fields)
		}
	})
}

// Config.Logger: "told what nobody's code is told: dead letters without a
// callback".
func TestDeadLetterWithoutCallbackIsLogged(t *testing.T) {
	for _, callback := range []bool{false, true} {
		t.Run(fmt.Sprint("callback ", callback), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logger, logs := observed()
				b := newBus(t, bus.Config{Logger: logger})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				var opts []bus.SubscribeOption
				if callback {
					opts = append(opts, bus.OnDeadLetter(func(context.Context, bus.Letter) {}))
				}
				subscribe(t, topic, "worker", func(context.Context, int) error { return errBad }, opts...)
				publish(t, topic, 1)
				shutdown(t, b)
				warned := logs.Filter(func(e zapEntry) bool { return e.Level >= zapcore.WarnLevel }).All()
				if callback && len(warned) > 0 {
					t.Errorf("logged although the callback was told: %v", warned)
				}
				if !callback && (len(warned) == 0 || warned[0].ContextMap()["subscription"] != "worker") {
					t.Errorf("nobody was told of a dead letter: %v", warned)
				}
			})
		})
	}
}

// A letter is whole long after its lane went on.
func TestLetterIsSafeToKeep(t *testing.T) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprint("broker ", broker), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := bus.Config{}
				if broker {
					cfg.Transport = memory.NewBroker().Connect()
				}
				b := newBus(t, cfg)
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
					if e.N%10 == 0 {
						return errBad
					}
					return nil
				}, bus.Lanes(3))
				var ids []string
				for i := range 1000 {
					id := fmt.Sprint("id", i)
					if err := topic.Publish(t.Context(), event{fmt.Sprint("k", i%7), i}, bus.ID(id), bus.Header("h", id)); err != nil {
						t.Fatal(err)
					}
					ids = append(ids, id)
				}
				shutdown(t, b)
				letters := s.DeadLetters()
				if len(letters) != 100 {
					t.Fatalf("%d letters", len(letters))
				}
				for i, v := range values[event](t, letters) {
					d := letters[i].Delivery
					id := ids[v.N]
					if v.N%10 != 0 || d.ID().String() != id || d.Headers().Get("h") != id || d.Key() != v.Key || d.Attempt() != 1 {
						t.Errorf("letter %d of %v: ID %v, headers %v, key %q", i, v, d.ID(), d.Headers(), d.Key())
					}
					payload, encoded := d.Payload()
					if encoded != broker || broker && string(payload) != fmt.Sprintf(`{"Key":%q,"N":%d}`, v.Key, v.N) {
						t.Errorf("payload %q", payload)
					}
				}
			})
		})
	}
}

func TestReplay(t *testing.T) {
	for _, broker := range []bool{false, true} {
		t.Run(fmt.Sprint("broker ", broker), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := bus.Config{}
				if broker {
					cfg.Transport = memory.NewBroker().Connect()
				}
				b := newBus(t, cfg)
				topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
				broken := true
				var handled list[string]
				ids := map[bus.MessageID]int{}
				s, err := topic.SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
					ids[m.ID]++
					if m.Attempt != 1 {
						t.Errorf("attempt %d", m.Attempt)
					}
					if broken {
						return errBad
					}
					handled.add(m.Value.String())
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				other := subscribe(t, topic, "other", ignore[event])
				publish(t, topic, event{"a", 1}, event{"b", 2}, event{"a", 3}, event{"c", 4})
				synctest.Wait()
				broken = false
				n, err := s.Replay(t.Context(), func(l bus.Letter) bool { return l.Delivery.Key() == "a" })
				if n != 2 || err != nil {
					t.Errorf("replayed %d: %v", n, err)
				}
				synctest.Wait()
				handled.require(t, "the matching", "a1", "a3")
				if n := len(s.DeadLetters()); n != 2 {
					t.Errorf("%d letters left", n)
				}
				if n, err := s.Replay(t.Context(), nil); n != 2 || err != nil {
					t.Errorf("replayed %d: %v", n, err)
				}
				if n, err := s.Replay(t.Context(), nil); n != 0 || err != nil {
					t.Errorf("replayed %d of none: %v", n, err)
				}
				shutdown(t, b)
				handled.require(t, "all", "a1", "a3", "b2", "c4")
				for id, n := range ids {
					if n != 2 {
						t.Errorf("%v came %d times, a replay keeps the ID", id, n)
					}
				}
				if st := stats(t, s); st.Accepted != 8 || st.DeadLettered != 4 || st.Handled != 4 || len(s.DeadLetters()) != 0 {
					t.Errorf("%v", st)
				}
				if st := stats(t, other); st.Accepted != 4 {
					t.Errorf("a replay reached another subscription: %v", st)
				}
			})
		})
	}
}

// What a Replay could not offer stays a dead letter, in its place.
func TestReplayThatGivesUp(t *testing.T) {
	cause := errors.New("had enough")
	for _, tc := range []struct {
		name    string
		policy  bus.Policy
		prepare func(b *bus.Bus, s *bus.Subscription)
		want    error
		offered int
	}{
		{"full mailbox", bus.Block, nil, cause, 2},
		{"full mailbox that fails", bus.Fail, nil, bus.ErrMailboxFull, 2},
		{"drained", bus.Block, func(_ *bus.Bus, s *bus.Subscription) { s.Drain(context.Background()) }, bus.ErrClosed, 0},
		{"closed", bus.Block, func(b *bus.Bus, _ *bus.Subscription) { b.Close() }, bus.ErrClosed, 0},
		{"shut down", bus.Block, func(b *bus.Bus, _ *bus.Subscription) { b.Shutdown(context.Background()) }, bus.ErrClosed, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "jobs"})
				s := subscribe(t, topic, "worker", func(context.Context, int) error { return errBad }, bus.Mailbox(2, tc.policy))
				for i := range 5 {
					publish(t, topic, i)
					synctest.Wait()
				}
				if tc.prepare != nil {
					tc.prepare(b, s)
				} else {
					s.Pause()
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
				defer cancel()
				n, err := s.Replay(ctx, nil)
				if n != tc.offered {
					t.Errorf("%d offered, want %d", n, tc.offered)
				}
				requireError(t, err, tc.want, "replay", "jobs", "worker", fmt.Sprintf("%d of 5", tc.offered))
				if got := values[int](t, s.DeadLetters()); fmt.Sprint(got) != fmt.Sprint(span(tc.offered, 4)) {
					t.Errorf("letters left: %v", got)
				}
				stats(t, s)
			})
		})
	}
}

// Replays at the same time offer each letter once.
func TestConcurrentReplays(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	ok := make(chan struct{})
	s := subscribe(t, topic, "s", func(context.Context, int) error {
		select {
		case <-ok:
			return nil
		default:
			return errBad
		}
	}, bus.Lanes(4), bus.Mailbox(16, bus.Block))
	publish(t, topic, span(1, 500)...)
	for len(s.DeadLetters()) < 500 {
		time.Sleep(time.Millisecond)
	}
	close(ok)
	total := make(chan int)
	for range 4 {
		go func() {
			n, err := s.Replay(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			total <- n
		}()
	}
	sum := 0
	for range 4 {
		sum += <-total
	}
	shutdown(t, b)
	if st := stats(t, s); sum != 500 || st.Handled != 500 {
		t.Errorf("%d replayed: %v", sum, st)
	}
}
