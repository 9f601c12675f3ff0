package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

var errFirst = errors.New("the first attempt fails")

// reader is a subscription of the test below, and what it must have been given.
type reader struct {
	sub   *Subscription
	typed *subscription[int]
	from  int         // the first event it sees
	to    int         // the first it does not; negative while it has not left
	fails func() bool // once an event

	mu      sync.Mutex
	first   []int // in order
	handled map[int]int
	failed  map[int]bool
}

func (r *reader) handle(_ context.Context, n int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed[n] {
		r.handled[n]++ // it is a Replay
		return nil
	}
	r.first = append(r.first, n)
	if r.fails() {
		r.failed[n] = true
		return errFirst
	}
	r.handled[n]++
	return nil
}

// shares tells whether r reads the topic's log.
func (r *reader) shares() bool {
	fan := r.typed.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return r.typed.shares && r.typed.lanes[0] != nil && r.typed.lanes[0].box.Own == nil
}

// check compares r with what was published up to, without, event number end.
func (r *reader) check(end int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.to >= 0 {
		end = r.to
	}
	st := r.sub.Stats()
	if !st.Balanced() {
		return fmt.Errorf("%s: %v", r.sub.name, st)
	}
	want := make([]int, 0, end-r.from)
	for n := r.from; n < end; n++ {
		want = append(want, n)
	}
	if !slices.Equal(r.first, want) {
		return fmt.Errorf("%s saw %v, want %v", r.sub.name, r.first, want)
	}
	left := make(map[int]bool)
	for _, l := range r.sub.DeadLetters() {
		v, _ := Value[int](l.Delivery)
		left[*v] = true
	}
	for n := r.from; n < end; n++ {
		if left[n] == (r.handled[n] == 1) || r.handled[n] > 1 {
			return fmt.Errorf("%s handled %d %d times, among its dead letters: %v", r.sub.name, n, r.handled[n], left[n])
		}
	}
	replays := 0
	for n := range r.failed {
		replays += r.handled[n]
	}
	if got, want := st.Accepted, uint64(len(want)+replays); got != want || st.Pending() != 0 {
		return fmt.Errorf("%s accepted %d, want %d: %v", r.sub.name, got, want, st)
	}
	return nil
}

// step is one of the test's, with the numbers that it needs.
type step struct {
	Op, Of    int
	Others    [5]bool // which others have their dead letters replayed too
	Publishes bool    // meanwhile
	Events    int
	Batch     int
	Fails     int // of a new subscription: every which event
	Capacity  int
}

var drawStep = rapid.Custom(func(t *rapid.T) step {
	s := step{
		Op: rapid.IntRange(0, 10).Draw(t, "op"), Of: rapid.IntRange(0, 4).Draw(t, "of"),
		Publishes: rapid.Bool().Draw(t, "publishes"), Events: rapid.IntRange(1, 40).Draw(t, "events"),
		Batch: rapid.IntRange(0, 40).Draw(t, "batch"), Fails: rapid.IntRange(2, 10).Draw(t, "fails every"),
		Capacity: rapid.SampledFrom([]int{1, 3, 20, 1000}).Draw(t, "capacity"),
	}
	for i := range s.Others {
		s.Others[i] = rapid.Bool().Draw(t, "others")
	}
	return s
})

// readers is a run of the test.
type readers struct {
	topic     *Topic[int]
	all, live []*reader
	next      int
}

func (rs *readers) add(s step) error {
	i := 0
	r := &reader{from: rs.next, to: -1, handled: map[int]int{}, failed: map[int]bool{}}
	r.fails = func() bool { i++; return i%s.Fails == 0 }
	sub, err := rs.topic.Subscribe(context.Background(), fmt.Sprint("s", len(rs.all)), r.handle, Mailbox(s.Capacity, Block))
	if err != nil {
		return err
	}
	r.sub, r.typed = sub, sub.engine.(*subscription[int])
	rs.all, rs.live = append(rs.all, r), append(rs.live, r)
	return nil
}

// settle compares once everything is handled.
func (rs *readers) settle() error {
	for _, r := range rs.live {
		r.sub.Resume()
	}
	synctest.Wait()
	for _, r := range rs.all {
		if err := r.check(rs.next); err != nil {
			return err
		}
	}
	return nil
}

func (rs *readers) publish(s step) error {
	ctx := context.Background()
	for range s.Events {
		if err := rs.topic.Publish(ctx, rs.next); err != nil {
			return err
		}
		rs.next++
	}
	batch := make([]int, s.Batch)
	for i := range batch {
		batch[i] = rs.next
		rs.next++
	}
	return rs.topic.PublishBatch(ctx, batch)
}

// replay has r's dead letters replayed, and those of others, and publishes at the
// same time.
func (rs *readers) replay(s step, r *reader) error {
	errs := make(chan error)
	n := 0
	for i, o := range rs.live {
		if o == r || s.Others[i] {
			n++
			go func() {
				_, err := o.sub.Replay(context.Background(), nil)
				errs <- err
			}()
		}
	}
	var err error
	if s.Publishes {
		err = rs.publish(s)
	}
	for range n {
		err = errors.Join(err, <-errs)
	}
	return err
}

func (rs *readers) run(s step) error {
	r := rs.live[s.Of%len(rs.live)]
	switch op := s.Op; {
	case op == 0 && len(rs.all) < 5:
		return errors.Join(rs.settle(), rs.add(s))
	case op == 1 && len(rs.live) > 1:
		err := errors.Join(rs.settle(), r.sub.Drain(context.Background()))
		r.to = rs.next
		rs.live = slices.DeleteFunc(rs.live, func(o *reader) bool { return o == r })
		return err
	case op == 2:
		return rs.settle()
	case op == 3: // what is published meanwhile has room
		if s.Events+s.Batch <= r.typed.opts.capacity {
			err := rs.settle()
			r.sub.Pause()
			return errors.Join(err, rs.publish(s))
		}
		fallthrough
	case op <= 6:
		for _, o := range rs.live {
			o.sub.Resume()
		}
		return rs.replay(s, r)
	default:
		for _, o := range rs.live {
			o.sub.Resume()
		}
		return rs.publish(s)
	}
}

// end replays what is left and looks whether everybody is back.
func (rs *readers) end() error {
	if err := rs.settle(); err != nil {
		return err
	}
	for _, r := range rs.live {
		if _, err := r.sub.Replay(context.Background(), nil); err != nil {
			return err
		}
	}
	if err := errors.Join(rs.publish(step{Events: 1}), rs.settle()); err != nil {
		return err
	}
	for _, r := range rs.live {
		if !r.shares() {
			return fmt.Errorf("%s did not return to the log", r.sub.name)
		}
	}
	return nil
}

func runReaders(steps []step) error {
	b, err := New(Config{})
	if err != nil {
		return err
	}
	defer b.Close()
	topic, err := NewTopic(b, TopicConfig[int]{Name: "n"})
	if err != nil {
		return err
	}
	rs := &readers{topic: topic}
	if err := rs.add(steps[0]); err != nil {
		return err
	}
	for _, s := range steps {
		if err := rs.run(s); err != nil {
			return err
		}
	}
	return rs.end()
}

// A subscription that had events replayed reads the topic's log again, and whatever
// is published, replayed, paused, subscribed and drained around that, each event
// is handled once, in order, and the ledger tells so.
func TestReplayReturnsToTheLog(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(drawStep, 1, 40).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(*testing.T) { err = runReaders(steps) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// What a subscription costs before a Replay and after it.
func BenchmarkAfterReplay(b *testing.B) {
	for _, readers := range []int{1, 4} {
		for _, replayed := range []bool{false, true} {
			b.Run(fmt.Sprintf("readers=%d/replayed=%v", readers, replayed), func(b *testing.B) {
				eb, err := New(Config{})
				if err != nil {
					b.Fatal(err)
				}
				defer eb.Close()
				ctx := context.Background()
				topic, err := NewTopic(eb, TopicConfig[[4]uint64]{Name: "n"})
				if err != nil {
					b.Fatal(err)
				}
				var subs []*Subscription
				for i := range readers {
					failed := false
					s, err := topic.Subscribe(ctx, fmt.Sprint(i), func(context.Context, [4]uint64) error {
						if !failed {
							failed = true
							return errFirst
						}
						return nil
					})
					if err != nil {
						b.Fatal(err)
					}
					subs = append(subs, s)
				}
				settled := func() {
					err := eb.changes.Wait(ctx, func() bool {
						return !slices.ContainsFunc(subs, func(s *Subscription) bool { return s.Stats().Pending() > 0 })
					})
					if err != nil {
						b.Fatal(err)
					}
				}
				if err := topic.Publish(ctx, [4]uint64{}); err != nil {
					b.Fatal(err)
				}
				settled()
				for _, s := range subs {
					if !replayed {
						break
					}
					if n, err := s.Replay(ctx, nil); n != 1 || err != nil {
						b.Fatal(n, err)
					}
				}
				settled()
				for b.Loop() {
					if err := topic.Publish(ctx, [4]uint64{}); err != nil {
						b.Fatal(err)
					}
				}
				settled()
			})
		}
	}
}
