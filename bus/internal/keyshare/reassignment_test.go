package keyshare

import (
	"fmt"
	"hash/fnv"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// fakeMember is a member as a subscription is one: its lanes are made when their first event comes.
type fakeMember struct{ lanes []*fakeLane }

func newFakeMember(lanes int) *fakeMember {
	m := &fakeMember{lanes: make([]*fakeLane, lanes)}
	for i := range m.lanes {
		m.lanes[i] = new(fakeLane)
	}
	return m
}

func (m *fakeMember) LaneCount() int { return len(m.lanes) }

func (m *fakeMember) Lane(i int) Lane {
	if l := m.lanes[i]; l != nil {
		return l
	}
	return nil
}

type fakeEvent struct {
	key    string
	n      uint64 // in its lane
	number int    // among those of its key
}

// fakeLane is a lane without goroutines.
type fakeLane struct {
	entered  uint64
	waiting  []fakeEvent
	running  *fakeEvent
	deferred []fakeEvent // in order; each behind those of its key
}

func (l *fakeLane) enter(e fakeEvent) {
	l.entered++
	e.n = l.entered
	l.waiting = append(l.waiting, e)
}

func (l *fakeLane) start() fakeEvent {
	e := l.waiting[0]
	l.waiting, l.running = l.waiting[1:], &e
	return e
}

func (l *fakeLane) finish() { l.running = nil }

// isDeferred reports whether an event of that key is.
func (l *fakeLane) isDeferred(key string) bool {
	return slices.ContainsFunc(l.deferred, func(e fakeEvent) bool { return e.key == key })
}

func (l *fakeLane) Entered() uint64 { return l.entered }

func (l *fakeLane) Done(n uint64) bool { return l.past(n) && len(l.deferred) == 0 }

func (l *fakeLane) DoneWith(key string, n uint64) bool {
	return l.past(n) && !slices.ContainsFunc(l.deferred, func(e fakeEvent) bool { return e.key == key && e.n <= n })
}

func (l *fakeLane) past(n uint64) bool {
	return l.entered-uint64(len(l.waiting)) >= n && (l.running == nil || l.running.n > n)
}

func hashOf(key string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key)) // it never fails
	return h.Sum64()*0x9E3779B97F4A7C15 | 1
}

// fakeTopic is a group with publishers and lanes that take steps in any order.
type fakeTopic struct {
	t       *rapid.T
	group   Group
	all     []*fakeMember // also those that left
	sent    map[string]int
	handled map[string]int
	running map[string]bool
}

// publish enters the next event of a key.
func (f *fakeTopic) publish(key string) {
	hash := hashOf(key)
	m := f.group.Owner(hash).(*fakeMember)
	i := LaneOf(hash, len(m.lanes))
	if m.lanes[i] == nil {
		m.lanes[i] = new(fakeLane)
	}
	f.sent[key]++
	m.lanes[i].enter(fakeEvent{key: key, number: f.sent[key]})
}

// begin has a lane start an event of its mailbox, or defer it behind its key or because it must wait.
func (f *fakeTopic) begin(m *fakeMember, l *fakeLane) {
	e := l.start()
	if l.isDeferred(e.key) || f.group.MustWait(m, l, e.key, hashOf(e.key), e.n) {
		l.running, l.deferred = nil, append(l.deferred, e)
		return
	}
	f.started(e)
}

func (f *fakeTopic) started(e fakeEvent) {
	if f.running[e.key] {
		f.t.Fatalf("two events of key %s run at once", e.key)
	}
	if want := f.handled[e.key] + 1; e.number != want {
		f.t.Fatalf("event %d of key %s starts, %d is due", e.number, e.key, want)
	}
	f.running[e.key] = true
}

// end has what runs in a lane end: as handled, or to be tried again before what is deferred of its key.
func (f *fakeTopic) end(l *fakeLane, failed bool) {
	e := *l.running
	l.finish()
	f.running[e.key] = false
	if failed {
		l.deferred = slices.Insert(l.deferred, 0, e)
		return
	}
	f.handled[e.key]++
}

// retry has a lane try the i-th of its deferred events, if that is the first of its key and may start.
func (f *fakeTopic) retry(m *fakeMember, l *fakeLane, i int) bool {
	e := l.deferred[i]
	if slices.IndexFunc(l.deferred, func(o fakeEvent) bool { return o.key == e.key }) < i {
		return false
	}
	if f.group.MustWait(m, l, e.key, hashOf(e.key), e.n) {
		return false
	}
	l.deferred = slices.Delete(l.deferred, i, i+1)
	l.running = &e
	f.started(e)
	return true
}

// step has a lane do what it can, one thing, without failing; it reports whether there was anything.
func (f *fakeTopic) step(m *fakeMember, l *fakeLane) bool {
	if l.running != nil {
		f.end(l, false)
		return true
	}
	for i := range l.deferred {
		if f.retry(m, l, i) {
			return true
		}
	}
	if len(l.waiting) > 0 {
		f.begin(m, l)
		return true
	}
	return false
}

// eachLane calls do for every lane that was made.
func (f *fakeTopic) eachLane(do func(m *fakeMember, l *fakeLane)) {
	for _, m := range f.all {
		for _, l := range m.lanes {
			if l != nil {
				do(m, l)
			}
		}
	}
}

// Whoever joins, leaves and is replaced while events wait, run and fail: the events of a key start in their order,
// never two at once, and there is no circle of waits: all of them come to an end.
func TestKeysKeepOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fakeTopic{t: t, sent: make(map[string]int), handled: make(map[string]int), running: make(map[string]bool)}
		key := rapid.Custom(func(t *rapid.T) string { return fmt.Sprint("k", rapid.IntRange(0, 4).Draw(t, "key")) })
		lane := func(t *rapid.T, fits func(*fakeLane) bool) (*fakeMember, *fakeLane) {
			type place struct {
				m *fakeMember
				l *fakeLane
			}
			var places []place
			f.eachLane(func(m *fakeMember, l *fakeLane) {
				if fits(l) {
					places = append(places, place{m, l})
				}
			})
			if len(places) == 0 {
				t.Skip("no lane has any")
			}
			p := places[rapid.IntRange(0, len(places)-1).Draw(t, "lane")]
			return p.m, p.l
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				if len(f.group.Members()) == 0 {
					t.Skip("no members")
				}
				for _, k := range rapid.SliceOfN(key, 1, 4).Draw(t, "keys") {
					f.publish(k)
				}
			},
			"begin": func(t *rapid.T) {
				f.begin(lane(t, func(l *fakeLane) bool { return l.running == nil && len(l.waiting) > 0 }))
			},
			"end": func(t *rapid.T) {
				_, l := lane(t, func(l *fakeLane) bool { return l.running != nil })
				f.end(l, rapid.IntRange(0, 3).Draw(t, "failed") == 0)
			},
			"retry": func(t *rapid.T) {
				m, l := lane(t, func(l *fakeLane) bool { return l.running == nil && len(l.deferred) > 0 })
				f.retry(m, l, rapid.IntRange(0, len(l.deferred)-1).Draw(t, "deferred"))
			},
			"join": func(t *rapid.T) {
				m := &fakeMember{lanes: make([]*fakeLane, rapid.IntRange(1, 3).Draw(t, "lanes"))}
				f.all = append(f.all, m)
				f.group.Join(m)
			},
			"leave": func(t *rapid.T) {
				members := f.group.Members()
				if len(members) == 0 {
					t.Skip("no members")
				}
				f.group.Leave(members[rapid.IntRange(0, len(members)-1).Draw(t, "leaver")])
			},
			"replace": func(t *rapid.T) {
				members := f.group.Members()
				if len(members) == 0 {
					t.Skip("no members")
				}
				m := &fakeMember{lanes: make([]*fakeLane, rapid.IntRange(1, 3).Draw(t, "lanes"))}
				f.all = append(f.all, m)
				f.group.Replace(members[rapid.IntRange(0, len(members)-1).Draw(t, "replaced")], m)
			},
		})
		for progress := true; progress; {
			progress = false
			f.eachLane(func(m *fakeMember, l *fakeLane) { progress = f.step(m, l) || progress })
		}
		for key, n := range f.sent {
			if f.handled[key] != n {
				t.Fatalf("%d of %d events of key %s were handled: the others wait for each other", f.handled[key], n, key)
			}
		}
		for _, m := range f.all {
			if !slices.Contains(f.group.Members(), Member(m)) {
				f.group.Ended(m)
			}
		}
		if f.group.forgetOver(); f.group.Moving() {
			t.Fatal("a reassignment is kept of which all is done")
		}
		if len(f.group.left) != 0 {
			t.Fatalf("%d members that ended are kept", len(f.group.left))
		}
	})
}
