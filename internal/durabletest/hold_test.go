package durabletest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// A held bus joins no consumer, handles nothing and refuses events; Start joins all that was subscribed, and
// a new name begins there.
func TestHold(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		publish(t, orders(t, b, 2), 0, 3)
		stop()

		log := open()
		b, err := bus.New(bus.Config{Log: log, Hold: true})
		if err != nil {
			t.Fatal(err)
		}
		topic := orders(t, b, 2)
		all, late := make(recorder, 10), make(recorder, 10)
		all.subscribe(t, topic, "all")
		if _, err := topic.SubscribeMessage(t.Context(), "late", late.handle); err != nil {
			t.Fatal(err)
		}
		left := make(recorder, 10).subscribe(t, topic, "left")
		if err := left.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := topic.SubscribeMessage(t.Context(), "late", late.handle); !errors.Is(err, bus.ErrDuplicateSubscription) {
			t.Errorf("the name twice: %v", err)
		}
		if err := topic.Publish(t.Context(), order{"c", 3}); !errors.Is(err, bus.ErrNotStarted) {
			t.Errorf("publish before Start: %v", err)
		}
		settle()
		lags, err := topic.Lag(t.Context())
		if len(lags) > 0 || err != nil || len(all)+len(late) > 0 {
			t.Errorf("before Start: %+v, %v, %d events were handled", lags, err, len(all)+len(late))
		}
		for range 2 { // the second does nothing
			if err := b.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		publish(t, topic, 3, 2)
		settle()
		for n := range 5 {
			if m := <-all; m.Value.N != n {
				t.Errorf("all: %+v, want %d", m, n)
			}
		}
		for n := 3; n < 5; n++ {
			if m := <-late; m.Value.N != n {
				t.Errorf("late: %+v, want %d", m, n)
			}
		}
		if lags, err := topic.Lag(t.Context()); len(lags) != 4 || err != nil {
			t.Errorf("%+v, %v", lags, err)
		}
		if err := errors.Join(b.Shutdown(t.Context()), log.Close()); err != nil {
			t.Error(err)
		}
	})
}

// refusingLog is a log to whose consumers nobody can join, while err is set.
type refusingLog struct {
	*memory.Log
	mu  sync.Mutex
	err error
}

func (l *refusingLog) set(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *refusingLog) Consume(ctx context.Context, c transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	l.mu.Lock()
	err := l.err
	l.mu.Unlock()
	if err != nil && c.Name == "second" {
		return nil, err
	}
	return l.Log.Consume(ctx, c, sink)
}

// A Start that the log refuses says which subscription that concerns. The bus is still held, and another
// Start goes on; so does an end.
func TestStartAgain(t *testing.T) {
	for _, then := range []string{"start", "shutdown", "close"} {
		t.Run(then, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &refusingLog{Log: memory.NewLog()}
				b, err := bus.New(bus.Config{Log: log, Hold: true})
				if err != nil {
					t.Fatal(err)
				}
				topic := orders(t, b, 2)
				first, second := make(recorder, 10), make(recorder, 10)
				subs := []*bus.Subscription{first.subscribe(t, topic, "first"), second.subscribe(t, topic, "second")}
				refused := errors.New("not now")
				log.set(refused)
				var of *bus.Error
				if err := b.Start(t.Context()); !errors.Is(err, refused) || !errors.As(err, &of) {
					t.Errorf("Start: %v", err)
				}
				if err := topic.Publish(t.Context(), order{"c", 0}); !errors.Is(err, bus.ErrNotStarted) {
					t.Errorf("publish after a Start that failed: %v", err)
				}
				settle()
				switch then {
				case "start":
					log.set(nil)
					if err := b.Start(t.Context()); err != nil {
						t.Fatal(err)
					}
					publish(t, topic, 0, 5)
					settle()
					if len(first) != 5 || len(second) != 5 {
						t.Errorf("%d and %d were handled", len(first), len(second))
					}
					fallthrough
				case "shutdown":
					if err := b.Shutdown(t.Context()); err != nil {
						t.Error(err)
					}
				default:
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				}
				for _, s := range subs {
					checkEnd(t, s)
				}
			})
		})
	}
}

// While a held bus starts, subscriptions come and leave.
func TestStartBesideSubscribers(t *testing.T) {
	for seed := range 20 {
		synctest.Test(t, func(t *testing.T) {
			b, err := bus.New(bus.Config{Log: memory.NewLog(), Hold: true})
			if err != nil {
				t.Fatal(err)
			}
			topic := orders(t, b, 2)
			got := make(recorder, 1000)
			early := got.subscribe(t, topic, "early")
			var running sync.WaitGroup
			running.Go(func() {
				time.Sleep(time.Duration(seed%3) * time.Millisecond)
				if err := b.Start(t.Context()); err != nil {
					t.Error(err)
				}
			})
			running.Go(func() {
				time.Sleep(time.Duration(seed/3%3) * time.Millisecond)
				got.subscribe(t, topic, "late")
			})
			running.Go(func() {
				time.Sleep(time.Duration(seed/9) * time.Millisecond)
				if err := early.Drain(t.Context()); err != nil {
					t.Error(err)
				}
				checkEnd(t, early)
			})
			running.Wait()
			publish(t, topic, 0, 10)
			settle()
			if len(got) != 10 {
				t.Errorf("%d were handled", len(got))
			}
			if err := b.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
