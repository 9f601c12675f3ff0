package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/bus"
)

// A handler that asks itself is told so at once. In a circle one is, and the others get
// their replies. What was asked in vain is handled.
func TestAskOfOneselfWouldDeadlock(t *testing.T) {
	for _, tc := range []struct {
		name   string
		length int // of the circle
		opts   []bus.SubscribeOption
		key    bool
	}{
		{"itself", 1, nil, false},
		{"itself, by key", 1, []bus.SubscribeOption{bus.Lanes(4)}, true},
		{"itself, in a group", 1, []bus.SubscribeOption{bus.Group("g")}, true},
		{"a circle", 3, nil, false},
		{"a circle, by key", 3, []bus.SubscribeOption{bus.Lanes(4)}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				var topics []*bus.Topic[question]
				var subs []*bus.Subscription
				var refused list[error]
				for i := range tc.length {
					cfg := bus.TopicConfig[question]{Name: fmt.Sprint("q", i)}
					if tc.key {
						cfg.Key = func(q question) string { return q.Query[:1] }
					}
					topics = append(topics, newTopic(t, b, cfg))
				}
				for i, topic := range topics {
					subs = append(subs, subscribe(t, topic, "s", bus.Answer(func(ctx context.Context, q string) (int, error) {
						if q == "k in vain" {
							return 0, nil
						}
						next := "k on"
						if i == tc.length-1 {
							next = "k in vain"
						}
						n, err := bus.Ask(ctx, topics[(i+1)%tc.length], next)
						if err != nil {
							refused.add(err)
						}
						return n + 1, nil
					}), tc.opts...))
				}
				n, err := bus.Ask(t.Context(), topics[0], "k")
				if err != nil || n < 1 || n > tc.length { // by who was the last to look
					t.Errorf("%d, %v", n, err)
				}
				all := refused.get()
				if len(all) != 1 {
					t.Fatalf("refused %v", all)
				}
				requireError(t, all[0], bus.ErrWouldDeadlock, "ask q", "waiting, directly or indirectly, for this handler")
				synctest.Wait()
				if st := stats(t, subs[0]); st.Handled != 2 {
					t.Errorf("what was asked in vain: %v", st)
				}
			})
		})
	}
}

// Where one handler waits for a reply, and who is to give it for room with the first,
// one of them is told, and then the other goes on.
func TestAskAndPublishWouldDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		asked := newTopic(t, b, questions)
		numbers := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		published, replied := make(chan error, 1), make(chan error, 1)
		subscribe(t, asked, "s", bus.Answer(func(ctx context.Context, _ string) (int, error) {
			published <- errors.Join(numbers.Publish(ctx, 2), numbers.Publish(ctx, 3))
			return 1, nil
		}))
		subscribe(t, numbers, "s", func(ctx context.Context, n int) error {
			if n == 1 {
				_, err := bus.Ask(ctx, asked, "?")
				replied <- err
			}
			return nil
		}, bus.Mailbox(1, bus.Block))
		publish(t, numbers, 1)
		p, r := <-published, <-replied
		if errors.Is(p, bus.ErrWouldDeadlock) == errors.Is(r, bus.ErrWouldDeadlock) || p != nil && r != nil {
			t.Errorf("Publish: %v, Ask: %v; one of them would deadlock", p, r)
		}
		shutdown(t, b)
	})
}

// A second subscription may reply where the first is the asker: no deadlock.
func TestAskThatAnotherAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, questions)
		var got list[string]
		subscribe(t, topic, "asks-itself", func(ctx context.Context, q question) error {
			if q.Query == "first" {
				n, err := bus.Ask(ctx, topic, "second")
				got.add(fmt.Sprint(n, " ", err))
			}
			return nil
		})
		other := subscribe(t, topic, "other", func(_ context.Context, q question) error { return q.Reply(2) })
		other.Pause() // both are asked before one answers
		go bus.Ask(t.Context(), topic, "first")
		synctest.Wait()
		if len(got.get()) > 0 {
			t.Errorf("told before the other replied: %v", got.get())
		}
		other.Resume()
		shutdown(t, b)
		got.require(t, "the second Ask", "2 <nil>")
	})
}

// Whatever handlers ask each other, all at once: every Ask ends, those without a
// circle with a reply.
func TestAskCircles(t *testing.T) {
	type hop struct {
		To   int
		Rest []int
	}
	rapid.Check(t, func(rt *rapid.T) {
		topics := rapid.IntRange(1, 4).Draw(rt, "topics")
		lanes := rapid.SampledFrom([]int{1, 1, 3}).Draw(rt, "lanes")
		paths := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, topics-1), 1, 5), 1, 8).Draw(rt, "paths")
		ordered := rapid.Bool().Draw(rt, "ordered") // then no circle is possible
		if ordered {
			for _, path := range paths {
				for i := range path {
					path[i] = min(i, topics-1)
				}
			}
			for i, path := range paths {
				paths[i] = path[:min(len(path), topics)]
			}
		}
		var problem error
		synctest.Test(t, func(t *testing.T) {
			b := newBus(t, bus.Config{})
			var all []*bus.Topic[bus.Request[hop, int]]
			for i := range topics {
				all = append(all, newTopic(t, b, bus.TopicConfig[bus.Request[hop, int]]{
					Name: fmt.Sprint("t", i),
					Key:  func(r bus.Request[hop, int]) string { return fmt.Sprint(len(r.Query.Rest)) },
				}))
			}
			ask := func(ctx context.Context, path []int) (int, error) {
				return bus.Ask(ctx, all[path[0]], hop{path[0], path[1:]})
			}
			for _, topic := range all {
				subscribe(t, topic, "s", bus.Answer(func(ctx context.Context, h hop) (int, error) {
					if len(h.Rest) == 0 {
						return 1, nil
					}
					n, err := ask(ctx, h.Rest)
					return n + 1, err
				}), bus.Lanes(lanes))
			}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for _, path := range paths {
				wg.Go(func() {
					n, err := ask(t.Context(), path)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil && n != len(path):
						problem = fmt.Errorf("%v: %d", path, n)
					case err != nil && (ordered || !errors.Is(err, bus.ErrWouldDeadlock)):
						problem = fmt.Errorf("%v: %w", path, err)
					}
				})
			}
			wg.Wait() // a deadlock ends the bubble
			shutdown(t, b)
		})
		if problem != nil {
			rt.Fatal(problem)
		}
	})
}
