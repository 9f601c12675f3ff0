package durabletest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

func newBus(t *testing.T, log transport.Log) *bus.Bus {
	t.Helper()
	b, err := bus.New(bus.Config{Log: log, MaxStarts: 3, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// crash ends a bus as a kill of its process would.
func crash(t *testing.T, log transport.Log, b *bus.Bus) {
	t.Helper()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	_ = b.Close() // it says that the log was closed
}

// A Drain does not wait for the attempt that its last handler asked for: that is the next one's, when it
// is due.
func TestDrainLeavesWhatIsDeferredMeanwhile(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		publish(t, topic, 1, 3)
		running, goOn := make(chan struct{}), make(chan struct{})
		sub, err := topic.Subscribe(t.Context(), "billing", func(context.Context, order) error {
			close(running)
			<-goOn
			return bus.RetryAfter(time.Hour, errors.New("later"))
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		<-running
		time.AfterFunc(time.Second, func() { close(goOn) })
		began := time.Now()
		if err := sub.Drain(t.Context()); err != nil || time.Since(began) > time.Minute {
			t.Errorf("%v, after %v", err, time.Since(began))
		}
		checkReturned(t, sub)
		got := make(recorder, 10)
		sub = got.subscribe(t, topic, "billing")
		m := <-got
		if m.Value.N != 1 || m.Attempt != 2 || time.Since(began) < time.Hour {
			t.Errorf("%+v, after %v", m, time.Since(began))
		}
		settle()
		if n := len(got); n != 2 {
			t.Errorf("%d more came", n)
		}
		_ = sub
		stop()
	})
}

func checkReturned(t *testing.T, sub *bus.Subscription) {
	t.Helper()
	if st := sub.Stats(); !st.Balanced() || st.Pending() != 0 || st.Returned == 0 {
		t.Errorf("%v", st)
	}
}

// A member that is paused, or has one slow event in hand, gives back what it has not started when another
// bus is to have it.
func TestPausedMemberGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		b1, b2 := newBus(t, store), newBus(t, store.Connect())
		topic1, topic2 := orders(t, b1, 2), orders(t, b2, 2)
		got1, got2 := make(recorder, 100), make(recorder, 100)
		sub := got1.subscribe(t, topic1, "one", bus.Group("g"))
		sub.Pause()
		for i := range 20 {
			if err := topic1.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		began := time.Now()
		sub2 := got2.subscribe(t, topic2, "two", bus.Group("g"))
		m := <-got2
		if m.Redelivered || time.Since(began) > time.Second {
			t.Errorf("%+v, after %v", m, time.Since(began))
		}
		sub.Resume()
		settle()
		if n := 1 + len(got1) + len(got2); n != 20 || len(got1) == 0 {
			t.Errorf("%d were handled, %d by the first", n, len(got1))
		}
		for _, s := range []*bus.Subscription{sub, sub2} {
			if err := s.Drain(t.Context()); err != nil {
				t.Error(err)
			}
			checkEnd(t, s)
		}
		for _, b := range []*bus.Bus{b1, b2} {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
}

// An event that ends the process each time is a dead letter after MaxStarts, and takes no attempt from its
// neighbours.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, poison = 1000, 500
		store := memory.NewLog()
		b, stop := start(t, store.Connect())
		publish(t, orders(t, b, 0), 0, events)
		stop()
		attempts := make(map[int]int)
		handled := make(map[int]int)
		for run := 1; ; run++ {
			log := store.Connect()
			b := newBus(t, log)
			poisoned, done := make(chan struct{}, 1), make(chan struct{})
			var seen atomic.Int64
			topic := orders(t, b, 0)
			_, err := topic.SubscribeMessage(t.Context(), "billing", func(ctx context.Context, m bus.Message[order]) error {
				attempts[m.Value.N] = max(attempts[m.Value.N], m.Attempt)
				if m.Value.N == poison {
					poisoned <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				handled[m.Value.N]++
				if m.Value.N == events-1 && seen.Add(1) == 1 {
					close(done)
				}
				return nil
			}, bus.From(bus.Earliest()))
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-poisoned:
				settle()
				crash(t, log, b)
			case <-done:
				settle()
				ls := letters(t, topic, "billing")
				if len(ls) != 1 || ls[0].Offset != poison+1 || !strings.Contains(ls[0].Error, bus.ErrCrashed.Error()) {
					t.Errorf("%+v", ls)
				}
				if run != 5 { // one start that nobody counted, three that were, and the one that gives it up
					t.Errorf("it was given up in run %d", run)
				}
				if err := b.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				for n := range events {
					if n != poison && (attempts[n] != 1 || handled[n] != 1) {
						t.Errorf("%d was handled %d times, its last attempt was %d", n, handled[n], attempts[n])
					}
				}
				return
			}
			if run > 10 {
				t.Fatal("it is never given up")
			}
		}
	})
}

// A Seek while handlers run ends their contexts; what they return does not count, and the events come again.
func TestSeekWhileHandling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		b, stop := start(t, store.Connect())
		topic := orders(t, b, 2)
		for i := range 8 {
			if err := topic.Publish(t.Context(), order{fmt.Sprint(i), i}); err != nil {
				t.Fatal(err)
			}
		}
		var causes, handled atomic.Int64
		again := make(chan struct{})
		sub, err := topic.SubscribeBatch(t.Context(), "billing", func(ctx context.Context, batch []bus.Message[order]) error {
			select {
			case <-ctx.Done():
				if errors.Is(context.Cause(ctx), transport.ErrFenced) {
					causes.Add(1)
				}
				return context.Cause(ctx)
			case <-again:
				handled.Add(int64(len(batch)))
				return nil
			}
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		settle()
		if err := store.Connect().Seek(t.Context(), "orders", "billing", transport.Start{From: transport.AtEarliest}); err != nil {
			t.Fatal(err)
		}
		settle()
		close(again)
		settle()
		st := sub.Stats()
		if causes.Load() == 0 || handled.Load() != 8 || st.Fenced == 0 || !st.Balanced() || st.Committed != 8 || st.DeadLettered != 0 {
			t.Errorf("%d were ended, %d handled, %v, committed %d", causes.Load(), handled.Load(), st, st.Committed)
		}
		stop()
	})
}

// When the log is closed under a bus, nothing is tried for ever, and Shutdown says what the log was not told.
func TestLogClosedUnderBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := store.Connect()
		b := newBus(t, log)
		topic := orders(t, b, 0)
		publish(t, topic, 1, 3)
		_, err := topic.Subscribe(t.Context(), "billing", func(context.Context, order) error {
			return bus.RetryAfter(time.Second, errors.New("later"))
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		settle()
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if err := b.Shutdown(t.Context()); !errors.Is(err, transport.ErrClosed) || !strings.Contains(err.Error(), "orders/billing") {
			t.Errorf("%v", err)
		}
	})
}

// deafLog is a log whose consumers take no commits: they wait for as long as they may.
type deafLog struct {
	*memory.Log
	deaf atomic.Bool
}

func (l *deafLog) Consume(ctx context.Context, c transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	of, err := l.Log.Consume(ctx, c, sink)
	return deafConsumer{of, l}, err
}

type deafConsumer struct {
	transport.Consumer
	l *deafLog
}

func (c deafConsumer) Commit(ctx context.Context, l transport.Lease, commit transport.Commit) error {
	if c.l.deaf.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return c.Consumer.Commit(ctx, l, commit)
}

// A Shutdown does not wait for a log that hangs beyond its context, and says what that was not told. Nor
// does a Drain, after which the name is free again.
func TestLogHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &deafLog{Log: memory.NewLog()}
		b := newBus(t, log)
		topic := orders(t, b, 0)
		publish(t, topic, 1, 3)
		log.deaf.Store(true)
		got := make(recorder, 10)
		sub := got.subscribe(t, topic, "billing")
		settle()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if err := sub.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Minute+time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		pass(time.Minute)
		got.subscribe(t, topic, "billing")
		settle()
		if len(got) < 4 {
			t.Errorf("%d came", len(got))
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "orders/billing") || time.Since(began) > 2*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		<-b.Done()
	})
}

// More events than MaxDeferred are adopted, wait for their time in order of their key, and hold up reading
// until there are fewer.
func TestMoreDeferredThanMaxDeferred(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := orders(t, b, 0)
		publish(t, topic, 1, 50)
		sub, err := topic.Subscribe(t.Context(), "billing", func(context.Context, order) error {
			return bus.RetryAfter(time.Hour, errors.New("later"))
		}, bus.From(bus.Earliest()))
		if err != nil {
			t.Fatal(err)
		}
		settle()
		if st := sub.Stats(); st.Deferred != 50 {
			t.Errorf("%v", st)
		}
		began := time.Now()
		stop()
		b, stop = start(t, open())
		topic = orders(t, b, 0)
		publish(t, topic, 51, 20)
		got := make(recorder, 100)
		got.subscribe(t, topic, "billing", bus.MaxDeferred(5), bus.Mailbox(2, bus.Block))
		pass(time.Minute)
		if len(got) > 0 {
			t.Errorf("%d came early", len(got))
		}
		for n := 1; n <= 70; n++ {
			m := <-got
			if m.Value.N != n || time.Since(began) < time.Hour-2*time.Second || n == 1 && m.Attempt != 2 {
				t.Errorf("%+v, after %v, want %d", m, time.Since(began), n)
			}
		}
		stop()
	})
}

// A subscription that is paused holds no more than its room; publishers don't wait, and it goes on by itself.
func TestPausedHoldsABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, stop := start(t, memory.NewLog())
		topic := orders(t, b, 0)
		got := make(recorder, 5000)
		sub := got.subscribe(t, topic, "billing", bus.Lanes(8), bus.Mailbox(1, bus.Block))
		sub.Pause()
		began := time.Now()
		publish(t, topic, 0, 3000)
		settle()
		if st := sub.Stats(); st.Pending() > 16 || time.Since(began) > time.Minute {
			t.Errorf("%v, after %v", st, time.Since(began))
		}
		sub.Resume()
		for n := range 3000 {
			if m := <-got; m.Value.N != n {
				t.Fatalf("%d, want %d", m.Value.N, n)
			}
		}
		stop()
	})
}
