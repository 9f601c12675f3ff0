package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// remembering is a transport that is asked to forget only after a while.
type remembering struct {
	*memory.Transport
	remembers time.Duration
	forget    func(publisher string) error // nil: it succeeds
	publish   func()                       // nil: nothing

	mu        sync.Mutex
	forgotten []string
}

func (r *remembering) Capabilities() transport.Capabilities {
	return transport.Capabilities{Name: "remembering", Remembers: r.remembers}
}

func (r *remembering) Forget(ctx context.Context, topic transport.Topic, publisher string) error {
	if r.forget != nil {
		if err := r.forget(publisher); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgotten = append(r.forgotten, fmt.Sprintf("%s/%d by %s", topic.Name, topic.Partitions, publisher))
	return r.Transport.Forget(ctx, topic, publisher)
}

func (r *remembering) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	if r.publish != nil {
		r.publish()
	}
	r.Transport.Publish(ctx, envs, results)
}

func (r *remembering) require(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if fmt.Sprint(r.forgotten) != fmt.Sprint(want) {
		t.Errorf("forgotten: %q, want %q", r.forgotten, want)
	}
}

// publisherList is who published what a subscription got.
func publisherList(t testing.TB, topic *bus.Topic[event]) *list[string] {
	t.Helper()
	var got list[string]
	subscribe(t, topic, "s", ignore[event], bus.Use(func(next bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			if err := d.Decode(nil); err != nil {
				return err
			}
			v, _ := bus.Value[event](d)
			got.add(fmt.Sprint(v.N, " by ", d.Publisher()))
			return next(ctx, d)
		}
	}))
	return &got
}

func closeTopic(t testing.TB, topic interface {
	Close(ctx context.Context) error
}) {
	t.Helper()
	if err := topic.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A topic that is made again has another publisher once its numbers were forgotten, and the same one before. No event is
// lost or taken for a repetition, here or on another bus that stays subscribed.
func TestTopicIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		tr := &remembering{Transport: broker.Connect(), remembers: 30 * time.Second}
		b, other := newBus(t, bus.Config{Transport: tr}), newBus(t, bus.Config{Transport: broker.Connect()})
		far := publisherList(t, newTopic(t, other, bus.TopicConfig[event]{Name: "n"}))
		var want []string
		n := 0
		// once makes the topic, publishes two events and closes it.
		once := func(publisher string) {
			t.Helper()
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
			near := publisherList(t, topic)
			var mine []string
			for range 2 {
				n++
				publish(t, topic, event{"", n})
				mine = append(mine, fmt.Sprint(n, " by ", publisher))
			}
			closeTopic(t, topic)
			near.require(t, "here", mine...)
			want = append(want, mine...)
			synctest.Wait()
			far.require(t, "there", want...)
		}
		id := b.ID()
		for range 3 {
			once(id)
			time.Sleep(29 * time.Second)
		}
		tr.require(t)
		time.Sleep(2 * time.Second)
		tr.require(t, "n/0 by "+id)
		once(id + ".1")
		once(id + ".1")
		time.Sleep(time.Minute)
		once(id + ".2")
		keeps := newTopic(t, b, bus.TopicConfig[event]{Name: "keeps"})
		synctest.Wait()
		time.Sleep(time.Minute)
		tr.require(t, "n/0 by "+id, "n/0 by "+id+".1", "n/0 by "+id+".2")
		// With other partitions it is another place: its numbers were not forgotten.
		parts := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Partitions: 2})
		publish(t, parts, event{"", 1})
		closeTopic(t, parts)
		closeTopic(t, keeps)
		time.Sleep(time.Minute)
		tr.require(t, "n/0 by "+id, "n/0 by "+id+".1", "n/0 by "+id+".2", "n/2 by "+id+".2", "keeps/0 by "+id+".2")
		once(id + ".3")
		for _, b := range []*bus.Bus{b, other} {
			for s := range b.Subscriptions() {
				if gaps := s.Gaps(); len(gaps) > 0 {
					t.Error(gaps)
				}
			}
			shutdown(t, b) // with a topic that is yet to be forgotten
		}
	})
}

// Events of a bus are not foreign, whatever it calls their publisher.
func TestTopicMadeAgainIsNotForeign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		b, other := newBus(t, bus.Config{Transport: broker.Connect()}), newBus(t, bus.Config{Transport: broker.Connect()})
		var ids list[string]
		if _, err := newTopic(t, other, bus.TopicConfig[event]{Name: "n"}).SubscribeMessage(t.Context(), "s", func(_ context.Context, m bus.Message[event]) error {
			ids.add(m.ID.Source() + m.ID.String())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for range 12 {
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
			publish(t, topic, event{"", 1})
			closeTopic(t, topic)
		}
		synctest.Wait()
		seen := make(map[string]bool)
		for _, id := range ids.get() {
			if seen[id] || !strings.HasPrefix(id, b.ID()+".") {
				t.Error(id)
			}
			seen[id] = true
		}
		if len(seen) != 12 {
			t.Error(len(seen))
		}
		shutdown(t, b)
		shutdown(t, other)
	})
}

// What another bus missed of a publisher that was forgotten is a gap of that one, and what follows arrives.
func TestTopicMadeAgainAndGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		far := broker.Connect()
		b, other := newBus(t, bus.Config{Transport: broker.Connect()}), newBus(t, bus.Config{Transport: far})
		topic := newTopic(t, other, bus.TopicConfig[event]{Name: "n"})
		got := publisherList(t, topic)
		once := func(n int) {
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
			publish(t, topic, event{"", n}, event{"", n + 1})
			closeTopic(t, topic)
		}
		once(1)
		mend := far.Sever()
		once(3)
		once(5)
		mend()
		once(7)
		synctest.Wait()
		id := b.ID()
		got.require(t, "there", "1 by "+id, "2 by "+id, "7 by "+id+".3", "8 by "+id+".3")
		for s := range other.Subscriptions() {
			gaps := s.Gaps()
			if len(gaps) != 2 {
				t.Fatal(gaps)
			}
			for i, g := range gaps {
				if g.Publisher != fmt.Sprint(id, ".", i+1) || g.From != 1 || g.To != 2 || g.Count != 2 {
					t.Errorf("%+v", g)
				}
			}
		}
		shutdown(t, b)
		shutdown(t, other)
	})
}

// A transport that could not forget is asked again, and told once in the log. Its topic may be made again meanwhile.
func TestTopicIsForgottenAtLast(t *testing.T) {
	for _, remembers := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			var failures atomic.Int32
			busy := errors.New("busy")
			tr := &remembering{Transport: memory.NewBroker().Connect(), remembers: remembers, forget: func(string) error {
				switch failures.Add(1) {
				case 1:
					return busy
				case 2:
					panic("of the transport")
				case 3:
					runtime.Goexit()
				}
				return nil
			}}
			log, logs := observed()
			b := newBus(t, bus.Config{Transport: tr, Logger: log})
			topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
			publish(t, topic, event{"", 1})
			closeTopic(t, topic)
			time.Sleep(remembers + time.Millisecond)
			again := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
			got := publisherList(t, again)
			publish(t, again, event{"", 2})
			time.Sleep(10 * time.Second)
			got.require(t, "again", "2 by "+b.ID()+".1")
			tr.require(t, "n/0 by "+b.ID())
			if n := logs.FilterMessageSnippet("has not forgotten").FilterField(zap.String("topic", "n")).Len(); n != 1 {
				t.Errorf("%d warnings", n)
			}
			shutdown(t, b)
		})
	}
}

// A topic is not forgotten while a Publish on it has not returned, and its publisher is not used again.
func TestTopicIsForgottenAfterItsPublishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		tr := &remembering{Transport: memory.NewBroker().Connect(), publish: func() { <-hang }}
		b := newBus(t, bus.Config{Transport: tr})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
		published := make(chan error, 1)
		go func() { published <- topic.Publish(context.Background(), event{"", 1}) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		requireError(t, topic.Close(ctx), context.DeadlineExceeded, "close topic n")
		again := newTopic(t, b, bus.TopicConfig[event]{Name: "n"})
		got := publisherList(t, again)
		time.Sleep(time.Minute)
		tr.require(t)
		close(hang)
		if err := <-published; err != nil {
			t.Error(err)
		}
		publish(t, again, event{"", 2})
		time.Sleep(time.Minute)
		tr.require(t, "n/0 by "+b.ID())
		if all := got.get(); len(all) != 2 || all[1] != "2 by "+b.ID()+".1" {
			t.Error(all)
		}
		shutdown(t, b)
	})
}
