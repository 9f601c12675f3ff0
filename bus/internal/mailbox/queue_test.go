package mailbox_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
	"pgregory.net/rapid"
)

// queued is an item of the model.
type queued struct {
	key string
	n   int
}

// A Queue against a slice, as each of its kinds: what it holds, in which order, what it gives up, and
// what it says of that.
func TestQueueMatchesSlice(t *testing.T) {
	for _, tc := range []struct {
		name              string
		evicting, replace bool
	}{{"shared", false, false}, {"evicting", true, false}, {"latest", true, true}} {
		t.Run(tc.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var q mailbox.Queue[int]
				if tc.evicting {
					q.Evicts(tc.replace)
				} else {
					q.Open(nil, rapid.Bool().Draw(t, "pointers"))
				}
				if q.Evicting() != tc.evicting || q.Replacing() != tc.replace {
					t.Fatalf("Evicting %v, Replacing %v", q.Evicting(), q.Replacing())
				}
				capacity := rapid.IntRange(1, 20).Draw(t, "capacity")
				var model []queued // what waits
				var taken, left, number uint64
				running, next := false, 0
				put := func() {
					next++
					it := queued{rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "key"), next}
					if !tc.evicting {
						full := q.Full(capacity)
						if busy := len(model) == capacity; full != busy {
							t.Fatalf("Full = %v with %d of %d", full, len(model), capacity)
						}
						if !full {
							q.Own.Append(&it.n)
							q.Own.Commit()
							model = append(model, it)
						}
						return
					}
					if q.Full(capacity) {
						t.Fatal("Full")
					}
					inPlace := rapid.Bool().Draw(t, "in place")
					var lost int
					want, at := mailbox.NoLoss, -1
					for i, old := range slices.Backward(model) {
						if tc.replace && inPlace && it.key != "" && old.key == it.key {
							at = i
							break
						}
					}
					switch {
					case at >= 0:
						want, lost = mailbox.Replaced, model[at].n
						model[at] = it
					case len(model) >= capacity:
						want, lost = mailbox.Evicted, model[0].n
						model = append(model[1:], it)
						left++
					default:
						model = append(model, it)
					}
					c := it.n
					got, depth := q.Evict(&c, it.key, capacity, inPlace)
					if got != want || got != mailbox.NoLoss && c != lost || depth != len(model) {
						t.Fatalf("Evict = %v %d, gave up %d, want %v %d, giving up %d", got, depth, c, want, len(model), lost)
					}
				}
				t.Repeat(map[string]func(*rapid.T){
					"put": func(*rapid.T) { put() },
					"next": func(*rapid.T) {
						c := q.Next()
						if (c != nil) != (len(model) > 0) || c != nil && (*c != model[0].n || *q.Running() != *c) {
							t.Fatalf("Next = %v, want one of %v", c, model)
						}
						if c != nil {
							model = model[1:]
							taken++
							left++
							running, number = true, left
						}
					},
					"done": func(*rapid.T) { q.MarkDone(); running = false },
					"idle": func(*rapid.T) { q.Idle(); running = false },
					"": func(*rapid.T) {
						at, runs := q.Cursor()
						if at != taken || runs != running || q.Taken() != taken || q.Position() != taken {
							t.Fatalf("Cursor = %d %v, want %d %v", at, runs, taken, running)
						}
						if q.Waiting() != len(model) || q.QueuedFrom(taken) != uint64(len(model)) || q.Ready() != (len(model) > 0) {
							t.Fatalf("%d wait, %d of them behind %d, want %d", q.Waiting(), q.QueuedFrom(taken), taken, len(model))
						}
						if taken > 0 && q.QueuedFrom(taken-1) != uint64(len(model))+1 {
							t.Fatalf("QueuedFrom the one before = %d with %d", q.QueuedFrom(taken-1), len(model))
						}
						if q.Entered() != left+uint64(len(model)) || taken > 0 && q.Number() != number {
							t.Fatalf("Entered = %d, Number %d, want %d, %d", q.Entered(), q.Number(), left+uint64(len(model)), number)
						}
						n := uint64(rapid.IntRange(0, next).Draw(t, "mark"))
						if past := left >= n && (!running || number > n); q.Past(n) != past {
							t.Fatalf("Past(%d) = %v: %d left, the %d-th runs: %v", n, q.Past(n), left, number, running)
						}
					},
				})
				var given []int
				from, n := q.Abandon(func(c *int) { given = append(given, *c) })
				var want []int
				for _, it := range model {
					want = append(want, it.n)
				}
				if from != taken || n != len(want) || !slices.Equal(given, want) {
					t.Fatalf("Abandon = %d %d %v, want %d %v", from, n, given, taken, want)
				}
			})
		})
	}
}
