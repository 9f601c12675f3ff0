package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// A second Serve beside the first is an error, and the first goes on.
func TestServeTwice(t *testing.T) {
	tr := memory.NewBroker().Connect()
	in, stop := serve(t, tr)
	subscribe(t, tr, topicN)
	if err := tr.Serve(t.Context(), &inbox{t: t}); err == nil {
		t.Error("two at once")
	}
	publish(t, tr, env("n", "1"))
	if got := ids(in.take()); got != "[1]" {
		t.Errorf("%v", got)
	}
	stop()
	publish(t, tr, env("n", "2")) // nobody is there
	if got := in.take(); got != nil {
		t.Errorf("%v", ids(got))
	}
}

// What was subscribed is live again after a restart, with a gap of what was published meanwhile,
// and what was unsubscribed meanwhile is not.
func TestServeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.NewBroker().Connect()
		_, stop := serve(t, tr)
		subscribe(t, tr, topicN, transport.Topic{Name: "m", Partitions: 3}, transport.Topic{Name: "gone"})
		for round := range uint64(3) {
			stop()
			if err := tr.Unsubscribe(t.Context(), transport.Topic{Name: "gone"}); err != nil {
				t.Fatal(err)
			}
			if r := publish(t, tr, env("n", "lost"), env("n", "lost"), env("gone", "lost"), &transport.Envelope{Topic: "n"}); r[0].Receivers != 0 {
				t.Errorf("while nobody serves: %+v", r)
			}
			var in *inbox
			in, stop = serve(t, tr)
			synctest.Wait()
			publish(t, tr, env("n", "1"), &transport.Envelope{Topic: "m", Partitions: 3, Partition: 2, ID: "2"}, env("gone", "3"))
			if got := ids(in.take()); got != "[1 2]" {
				t.Errorf("after a restart: %v", got)
			}
			want := fmt.Sprintf("[n: 1 events lost (disconnected) n: events %d to %d of publisher p lost (disconnected)]", 3*round+1, 3*round+2)
			if got := fmt.Sprint(in.gaps); got != want {
				t.Errorf("after a restart: gaps %v, want %v", got, want)
			}
		}
		stop()
	})
}

// Subscribe waits for Serve, as long as its context lasts.
func TestSubscribeWaitsForServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.NewBroker().Connect()
		cause := errors.New("had enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		if err := tr.Subscribe(ctx, topicN); !errors.Is(err, cause) {
			t.Errorf("%v", err)
		}
		got := make(chan error)
		go func() { got <- tr.Subscribe(context.Background(), topicN) }()
		time.Sleep(time.Hour)
		in, stop := serve(t, tr)
		if err := <-got; err != nil {
			t.Error(err)
		}
		publish(t, tr, env("n", "1"))
		if got := ids(in.take()); got != "[1]" {
			t.Errorf("%v", got)
		}
		stop()
		// The Subscribe that failed left nothing behind, and the end of Serve has later ones wait
		// again.
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := tr.Subscribe(ctx, transport.Topic{Name: "m"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		in, stop = serve(t, tr)
		synctest.Wait()
		publish(t, tr, env("m", "2"))
		if got := in.take(); got != nil {
			t.Errorf("a failed Subscribe is live: %v", ids(got))
		}
		stop()
	})
}

// When Serve has returned its sink is left alone, whatever publishers and subscribers do at that
// moment.
func TestSinkIsLeftAloneAfterServe(t *testing.T) {
	broker := memory.NewBroker()
	tr, pub := broker.Connect(), broker.Connect()
	var wg sync.WaitGroup
	stopAll := make(chan struct{})
	running := func(f func()) {
		wg.Go(func() {
			for {
				select {
				case <-stopAll:
					return
				default:
					f()
				}
			}
		})
	}
	running(func() { publish(t, pub, env("n", ""), env("m", "")) })
	running(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		for _, topic := range []transport.Topic{topicN, {Name: "m"}} {
			if err := tr.Subscribe(ctx, topic); err == nil {
				tr.Unsubscribe(ctx, topic)
			}
		}
	})
	for range 300 {
		_, stop := serve(t, tr) // inbox.Deliver fails the test once closed
		stop()
	}
	close(stopAll)
	wg.Wait()
}
