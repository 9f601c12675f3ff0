package retryqueue_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus/internal/retryqueue"
	"pgregory.net/rapid"
)

type item = retryqueue.Item[int]

// modelKey is a key of the model: items in a slice, the first taken of which are being run.
type modelKey struct {
	name  string
	items []item
	taken int
	due   time.Time
	seq   int
	key   *retryqueue.Key[int] // while it is being run
}

// model is a retry queue that looks at everything for each question.
type model struct {
	keys []*modelKey
	seq  int
}

func (m *model) find(name string) *modelKey {
	for _, k := range m.keys {
		if name != "" && k.name == name {
			return k
		}
	}
	return nil
}

func (m *model) setDue(k *modelKey, due time.Time) {
	m.seq++
	k.due, k.seq, k.taken, k.key = due, m.seq, 0, nil
}

// next is the key that Pop must take.
func (m *model) next() (next *modelKey) {
	for _, k := range m.keys {
		if k.taken == 0 && (next == nil || cmp.Or(k.due.Compare(next.due), cmp.Compare(k.seq, next.seq)) < 0) {
			next = k
		}
	}
	return next
}

func (m *model) waiting() (events []int) {
	for _, k := range m.keys {
		for _, it := range k.items[k.taken:] {
			events = append(events, it.Event)
		}
	}
	slices.Sort(events)
	return events
}

func TestQueueMatchesModel(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		var q retryqueue.Queue[int]
		var m model
		now, arrived := began, 0
		arrive := func() item {
			arrived++
			return item{
				Event: arrived, N: uint64(arrived), Attempt: rapid.IntRange(1, 2).Draw(t, "attempt"),
				Recheck: time.Duration(rapid.IntRange(0, 3).Draw(t, "recheck") / 3),
			}
		}
		soon := func() time.Time { return now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "delay"))) }
		name := rapid.SampledFrom([]string{"", "a", "b", "c"})
		running := func() *modelKey {
			var of []*modelKey
			for _, k := range m.keys {
				if k.taken > 0 {
					of = append(of, k)
				}
			}
			if len(of) == 0 {
				t.Skip("nothing is being run")
			}
			return rapid.SampledFrom(of).Draw(t, "running")
		}
		t.Repeat(map[string]func(*rapid.T){
			"time": func(*rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "passes"))) },
			"enter": func(*rapid.T) {
				key, it := name.Draw(t, "key"), arrive()
				k := m.find(key)
				if behind := q.Behind(key, it); behind != (k != nil) {
					t.Fatalf("Behind(%q) = %v", key, behind)
				} else if behind {
					k.items = append(k.items, it)
					return
				}
				k = &modelKey{name: key, items: []item{it}}
				m.keys = append(m.keys, k)
				due := soon()
				m.setDue(k, due)
				q.Defer(key, it, due)
			},
			"insert": func(*rapid.T) {
				key, it := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key"), arrive()
				k := m.find(key)
				if k != nil && k.taken > 0 {
					t.Skip("it is being run")
				}
				if rapid.Bool().Draw(t, "early") {
					it.Event = -it.Event
				}
				due := soon()
				ahead := q.Insert(key, it, due, func(a, b *int) bool { return *a < *b })
				if k == nil {
					k = &modelKey{name: key, items: []item{it}}
					m.keys = append(m.keys, k)
					m.setDue(k, due)
				} else if it.Event < k.items[0].Event {
					k.items[0].Due, k.due = k.due, due
					k.items = slices.Insert(k.items, 0, it)
				} else {
					it.Due = due
					at := len(k.items)
					for at > 1 && it.Event < k.items[at-1].Event {
						at--
					}
					k.items = slices.Insert(k.items, at, it)
				}
				at := slices.IndexFunc(k.items, func(of item) bool { return of.N == it.N })
				if (ahead != nil) != (at > 0) || ahead != nil && *ahead != k.items[at-1].Event {
					t.Fatalf("Insert = %v, it is number %d", ahead, at)
				}
			},
			"delete": func(*rapid.T) {
				if slices.ContainsFunc(m.keys, func(k *modelKey) bool { return k.taken > 0 }) {
					t.Skip("something is being run")
				}
				rest := rapid.IntRange(2, 4).Draw(t, "every")
				drop := func(event int) bool { return event%rest == 0 }
				n := q.DeleteFunc(func(e *int) bool { return drop(*e) })
				for _, k := range m.keys {
					if drop(k.items[0].Event) {
						k.due = time.Time{}
						if i := slices.IndexFunc(k.items, func(it item) bool { return !drop(it.Event) }); i >= 0 {
							k.due = k.items[i].Due
						}
					}
					before := len(k.items)
					k.items = slices.DeleteFunc(k.items, func(it item) bool { return drop(it.Event) })
					n -= before - len(k.items)
				}
				m.keys = slices.DeleteFunc(m.keys, func(k *modelKey) bool { return len(k.items) == 0 })
				if n != 0 {
					t.Fatalf("%d more were deleted", n)
				}
			},
			"replace": func(*rapid.T) {
				key, it := name.Draw(t, "key"), arrive()
				old, replaced := q.Replace(key, it)
				k := m.find(key)
				var want *item
				if k != nil {
					if behind := k.items[max(1, k.taken):]; len(behind) == 1 && behind[0].Attempt == 1 {
						want = &behind[0]
					}
				}
				if replaced != (want != nil) || replaced && old != want.Event {
					t.Fatalf("Replace(%q) = %d %v, want %v", key, old, replaced, want)
				}
				if replaced {
					it.Recheck = cmp.Or(it.Recheck, want.Recheck)
					*want = it
				}
			},
			"pop": func(*rapid.T) {
				g, want := q.Pop(now), m.next()
				if want != nil && want.due.After(now) {
					want = nil
				}
				if (g != nil) != (want != nil) || g != nil && (g.Name != want.name || g.First != want.items[0]) {
					t.Fatalf("Pop = %+v, want %+v", g, want)
				}
				if g != nil {
					want.taken, want.key = 1, g
				}
			},
			"follow": func(*rapid.T) {
				k := running()
				it, ok := q.Follow(k.key)
				behind := k.items[k.taken:]
				may := k.items[0].Attempt == 1 && len(behind) > 0 && behind[0].Attempt == 1 && behind[0].Recheck == 0 && behind[0].Due.IsZero()
				if ok != may || ok && it != behind[0] {
					t.Fatalf("Follow = %v %v, behind is %v", it, ok, behind)
				}
				if ok {
					k.taken++
				}
			},
			"return": func(*rapid.T) {
				k := running()
				var again []item
				for _, it := range k.items[:k.taken] {
					if rapid.Bool().Draw(t, "again") {
						it.Attempt++
						again = append(again, it)
					}
				}
				due := soon()
				q.Return(k.key, due, again...)
				rest := k.items[k.taken:]
				if len(again) == 0 {
					due = time.Time{}
					if len(rest) > 0 {
						due = rest[0].Due
					}
				}
				k.items = slices.Concat(again, rest)
				m.setDue(k, due)
				if len(k.items) == 0 {
					m.keys = slices.DeleteFunc(m.keys, func(other *modelKey) bool { return other == k })
				}
			},
			"clear": func(*rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
					t.Skip("not now")
				}
				var events []int
				n := q.Clear(func(e *int) { events = append(events, *e) })
				slices.Sort(events)
				if want := m.waiting(); n != len(want) || !slices.Equal(events, want) {
					t.Fatalf("Clear = %d %v, want %v", n, events, want)
				}
				m = model{}
			},
			"": func(*rapid.T) {
				var events []int
				q.Each(func(e *int) { events = append(events, *e) })
				slices.Sort(events)
				if want := m.waiting(); !slices.Equal(events, want) || q.Len() != len(want) {
					t.Fatalf("%d items: %v, want %v", q.Len(), events, want)
				}
				named := 0
				for _, k := range m.keys {
					if k.name == "" {
						continue
					}
					named++
					if n, ok := q.First(k.name); !ok || n != k.items[0].N {
						t.Fatalf("First(%q) = %d %v, want %d", k.name, n, ok, k.items[0].N)
					}
				}
				if q.Keys() != named {
					t.Fatalf("Keys = %d, want %d", q.Keys(), named)
				}
				due, ok := q.NextDue()
				if next := m.next(); ok != (next != nil) || ok && !due.Equal(next.due) {
					t.Fatalf("NextDue = %v %v, want %+v", due, ok, next)
				}
			},
		})
	})
}

// What failed is tried again before what came behind it, and what came behind it runs in order.
func TestOrderOfKey(t *testing.T) {
	var q retryqueue.Queue[string]
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	q.Defer("k", retryqueue.Item[string]{Event: "first", N: 1, Attempt: 2}, now.Add(time.Second))
	q.Behind("k", retryqueue.Item[string]{Event: "second", N: 2, Attempt: 1})
	q.Behind("k", retryqueue.Item[string]{Event: "third", N: 3, Attempt: 1})
	if g := q.Pop(now); g != nil {
		t.Fatalf("%q ran before it was due", g.First.Event)
	}
	now = now.Add(time.Second)
	g := q.Pop(now)
	if _, ok := q.Follow(g); ok {
		t.Error("an event ran with one that had failed before")
	}
	q.Return(g, now)
	g = q.Pop(now)
	if it, ok := q.Follow(g); g.First.Event != "second" || !ok || it.Event != "third" {
		t.Fatalf("%q, then %q", g.First.Event, it.Event)
	}
	q.Return(g, now, g.First)
	if n, ok := q.First("k"); n != 2 || !ok || q.Len() != 1 || q.Keys() != 1 {
		t.Errorf("the first is %d, of %d", n, q.Len())
	}
	q.Return(q.Pop(now), now)
	if q.Len() != 0 || q.Keys() != 0 {
		t.Errorf("%d items, %d keys", q.Len(), q.Keys())
	}
}
