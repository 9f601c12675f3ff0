package memory_test

import (
	"context"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// critic is an inbox that is told of mismatches.
type critic struct {
	inbox
	mismatches struct {
		sync.Mutex
		all []transport.Mismatch
	}
}

func (c *critic) Mismatch(m transport.Mismatch) {
	c.mismatches.Lock()
	defer c.mismatches.Unlock()
	c.mismatches.all = append(c.mismatches.all, m)
}

func (c *critic) require(t *testing.T, who string, want ...transport.Mismatch) {
	t.Helper()
	c.mismatches.Lock()
	defer c.mismatches.Unlock()
	if len(c.mismatches.all) != len(want) {
		t.Errorf("%s was told %v, want %v", who, c.mismatches.all, want)
		return
	}
	for i, m := range c.mismatches.all {
		m.Peer = "" // a name of the broker's, for subscribers
		if m != want[i] {
			t.Errorf("%s was told %+v, want %+v", who, m, want[i])
		}
	}
	c.mismatches.all = nil
}

func criticize(t *testing.T, tr *memory.Transport) *critic {
	c := &critic{inbox: inbox{t: t}}
	serveAs(t, tr, c)
	subscribe(t, tr, transport.Topic{Name: "ready"}) // waits for Serve
	return c
}

// Who subscribes and who publishes are told of each other, whoever comes first; nothing is
// delivered across numbers of partitions.
func TestMismatch(t *testing.T) {
	four := transport.Topic{Name: "n", Partitions: 4, TypeName: "shop.Order"}
	eight := transport.Topic{Name: "n", Partitions: 8, TypeName: "shop.Order"}
	bill := transport.Topic{Name: "n", Partitions: 4, TypeName: "shop.Bill"}
	on := func(topic transport.Topic, publisher string) *transport.Envelope {
		return &transport.Envelope{Topic: topic.Name, Partitions: topic.Partitions, TypeName: topic.TypeName, Publisher: publisher, ID: publisher}
	}
	broker := memory.NewBroker()
	sub, pub, late := broker.Connect(), broker.Connect(), broker.Connect()
	subIn, pubIn, lateIn := criticize(t, sub), criticize(t, pub), criticize(t, late)
	subscribe(t, sub, four)
	if r := publish(t, pub, on(eight, "p"), on(eight, "p")); r[0].Receivers != 0 {
		t.Errorf("%d got it", r[0].Receivers)
	}
	if got := subIn.take(); got != nil {
		t.Errorf("what was published on 8 partitions arrived at one of 4: %v", ids(got))
	}
	subIn.require(t, "the subscriber", transport.Mismatch{Here: four, There: eight})
	pubIn.require(t, "the publisher", transport.Mismatch{Subscribes: true, Here: eight, There: four})

	// Another type arrives; what to make of it is the bus's.
	publish(t, pub, on(bill, "q"), on(four, "r"))
	if got := ids(subIn.take()); got != "[q r]" {
		t.Errorf("arrived: %v", got)
	}
	subIn.require(t, "the subscriber", transport.Mismatch{Here: four, There: bill})
	pubIn.require(t, "the publisher", transport.Mismatch{Subscribes: true, Here: bill, There: four})

	subscribe(t, late, eight)
	lateIn.mismatches.Lock()
	if n := len(lateIn.mismatches.all); n != 2 { // q and r
		t.Errorf("who came late was told of %d publishers", n)
	}
	lateIn.mismatches.all = nil
	lateIn.mismatches.Unlock()

	// Who has left is nobody's peer.
	pub.Release()
	again := broker.Connect()
	againIn := criticize(t, again)
	subscribe(t, again, bill)
	againIn.require(t, "who came after the publisher had left")
	if err := again.Unsubscribe(t.Context(), bill); err != nil {
		t.Fatal(err)
	}
	publish(t, late, on(eight, "s"))
	againIn.require(t, "who has unsubscribed")
}

// serveAs runs tr for a sink until stop, which waits for its end.
func serveAs(t testing.TB, tr *memory.Transport, sink transport.Sink) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := tr.Serve(ctx, sink); err != nil {
			t.Errorf("serve: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	t.Cleanup(stop)
	return stop
}
