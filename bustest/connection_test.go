package bustest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

func TestDisconnect(t *testing.T) {
	b := bustest.New(t)
	other := bustest.New(t, bustest.SharedWith(b))
	sub, far := listen(t, b), listen(t, other)
	publish(t, other, "1")
	b.Disconnect()
	b.Disconnect() // is disconnected
	if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "x"}); !errors.Is(err, bustest.ErrDisconnected) {
		t.Errorf("%v", err)
	}
	publish(t, other, "2", "3")
	b.Poison("orders", []byte(`{"ID":"foreign"}`))
	requireGaps(t, sub) // nobody has told it
	b.Reconnect()
	requireGaps(t, sub, gap(other, 2, 3, transport.Disconnected),
		transport.Gap{Topic: "orders", Count: 1, Reason: transport.Disconnected})
	b.Reconnect() // once
	publish(t, other, "4")
	publish(t, b, "5")
	requireHeard(t, b, "1 4 5")
	requireHeard(t, other, "1 2 3 foreign 4 5")
	requireGaps(t, far)
	if got := len(sub.Gaps()); got != 2 {
		t.Errorf("%d gaps", got)
	}
	requireFaults(t, b, bustest.Faults{Failed: 1, Missed: 3, Injected: 1})
	bustest.RequireNotPublished(t, b, orders, bustest.Key[order]("x"))
}

// Subscribe waits for the connection.
func TestSubscribeWhileDisconnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bustest.New(t)
		topic := topicOf(t, b, orders)
		handle := func(context.Context, order) error { return nil }
		b.Disconnect()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := topic.Subscribe(ctx, "audit", handle); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		time.AfterFunc(time.Hour, b.Reconnect)
		start := time.Now()
		must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "audit", handle))
		if d := time.Since(start); d != time.Hour {
			t.Errorf("after %v", d)
		}
		publish(t, b, "1")
		requireHeard(t, b, "1")
	})
}

func TestSever(t *testing.T) {
	a := bustest.New(t)
	b := bustest.New(t, bustest.SharedWith(a))
	c := bustest.New(t, bustest.SharedWith(a))
	subs := map[*bustest.Bus]*bus.Subscription{a: listen(t, a), b: listen(t, b), c: listen(t, c)}
	bustest.Sever(a, b)
	publish(t, a, "a1", "a2")
	publish(t, b, "b1")
	publish(t, c, "c1")
	requireHeard(t, a, "a1 a2 c1")
	requireHeard(t, b, "b1 c1")
	requireHeard(t, c, "a1 a2 b1 c1")
	requireGaps(t, subs[a])
	bustest.Heal(b, a)
	publish(t, a, "a3")
	requireHeard(t, b, "b1 c1 a3")
	requireGaps(t, subs[a], gap(b, 1, 1, transport.Disconnected))
	requireGaps(t, subs[b], gap(a, 1, 2, transport.Disconnected))
	requireGaps(t, subs[c])
	requireFaults(t, a, bustest.Faults{Missed: 1})
	requireText(t, failure(t, func(t testing.TB) { bustest.Sever(bustest.New(t), a) }),
		"bustest: Sever needs buses on one broker, see SharedWith")
}

// What is severed stays so over a Disconnect, and the other way round.
func TestSeverAndDisconnect(t *testing.T) {
	a := bustest.New(t)
	b := bustest.New(t, bustest.SharedWith(a))
	sub := listen(t, b)
	bustest.Sever(a, b)
	b.Disconnect()
	publish(t, a, "1")
	b.Reconnect()
	requireGaps(t, sub)
	b.Disconnect()
	bustest.Heal(a, b)
	publish(t, a, "2")
	requireGaps(t, sub)
	b.Reconnect()
	requireGaps(t, sub, gap(a, 1, 2, transport.Disconnected))
	requireHeard(t, b, "")
}

func TestCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observer := bustest.New(t)
		b := bustest.New(t, bustest.SharedWith(observer))
		far := listen(t, observer)
		var late error
		topic := topicOf(t, b, orders)
		sub := must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "worker", func(ctx context.Context, o order) error {
			if o.ID != "1" {
				return nil
			}
			<-ctx.Done()
			late = topic.Publish(context.WithoutCancel(ctx), order{ID: "last words"})
			return late
		}))
		publish(t, b, "1", "2", "3")
		b.Delay("orders", 1, time.Second)
		publish(t, b, "held")
		synctest.Wait()
		b.Crash()
		if !errors.Is(late, bus.ErrClosed) {
			t.Errorf("its handler could publish: %v", late)
		}
		if st := sub.Stats(); st.Abandoned != 3 || !st.Balanced() {
			t.Errorf("%v", st)
		}
		if err := topic.Publish(t.Context(), order{ID: "4"}); !errors.Is(err, bus.ErrClosed) {
			t.Errorf("%v", err)
		}
		// Its successor is another publisher.
		second := bustest.New(t, bustest.SharedWith(observer))
		publish(t, second, "5")
		time.Sleep(time.Minute)
		requireHeard(t, observer, "1 2 3 5")
		requireGaps(t, far)
	})
}

// Everything at once, under the race detector: the ledgers and the numbers add up
// at the end, which New's clean-up checks.
func TestFaultsAllAtOnce(t *testing.T) {
	a := bustest.New(t, bustest.AllowDeadLetters())
	b := bustest.New(t, bustest.SharedWith(a), bustest.AllowDeadLetters())
	listen(t, a, bus.Lanes(4), bus.Mailbox(8, bus.Block))
	listen(t, b)
	errNo := errors.New("no")
	var all sync.WaitGroup
	for _, x := range []*bustest.Bus{a, b} {
		topic := topicOf(t, x, orders)
		for range 4 {
			all.Go(func() {
				for range 200 {
					_ = topic.Publish(t.Context(), order{ID: "k"}) // some fail
				}
			})
		}
		all.Go(func() {
			for range 50 {
				x.DropNext("", 1)
				x.Duplicate("", 1)
				x.Reorder("", 2)
				x.Delay("", 1, time.Microsecond)
				x.FailPublish("", 1, errNo)
				x.LoseReply("", 1, errNo)
				x.Poison("orders", []byte("{"))
				x.Faults()
			}
		})
	}
	all.Go(func() {
		for range 50 {
			bustest.Sever(a, b)
			a.Disconnect()
			bustest.Heal(a, b)
			a.Reconnect()
		}
	})
	all.Wait()
	bustest.Redeliver(t, a, orders)
	b.Crash()
}
