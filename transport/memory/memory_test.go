package memory_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

var topicN = transport.Topic{Name: "n"}

func TestDeliversToSubscribersOnly(t *testing.T) {
	broker := memory.NewBroker()
	a, b, other := broker.Connect(), broker.Connect(), memory.NewBroker().Connect()
	inA, _ := serve(t, a)
	inB, _ := serve(t, b)
	inOther, _ := serve(t, other)
	if r := publish(t, a, env("n", "0")); r[0].Receivers != 0 {
		t.Errorf("%+v", r)
	}
	subscribe(t, a, topicN, topicN) // twice is once
	subscribe(t, b, transport.Topic{Name: "m"}, topicN)
	subscribe(t, other, topicN)
	r := publish(t, b, env("n", "1"), env("m", "2"), env("o", "3"))
	if r[0].Receivers != 2 || r[1].Receivers != 1 || r[2].Receivers != 0 {
		t.Errorf("%+v", r)
	}
	if got := ids(inA.take()); got != "[1]" {
		t.Errorf("a got %v", got)
	}
	if got := ids(inB.take()); got != "[1 2]" {
		t.Errorf("b got %v", got)
	}
	if got := inOther.take(); got != nil {
		t.Errorf("another broker got %v", got)
	}
}

// An envelope arrives as it was given, but for Seq, in the order of Publish.
func TestEnvelopesArriveUnchanged(t *testing.T) {
	tr := memory.NewBroker().Connect()
	in, _ := serve(t, tr)
	subscribe(t, tr, transport.Topic{Name: "n", Partitions: 2})
	full := transport.Envelope{
		Topic: "n", Partitions: 2, Partition: 1, Publisher: "p", ID: "\xff", Seq: 99, Key: "k\x00", Time: time.Unix(1, 2),
		Headers: transport.HeadersFromMap(map[string]string{"a": "b"}), ContentType: "x/y", Payload: []byte{0, 255},
	}
	given := full
	publish(t, tr, &given, &transport.Envelope{Topic: "n", Partitions: 2})
	got := in.take()
	if len(got) != 2 {
		t.Fatalf("%d", len(got))
	}
	full.Seq = 1
	if fmt.Sprintf("%+v", *got[0]) != fmt.Sprintf("%+v", full) {
		t.Errorf("%+v, want %+v", *got[0], full)
	}
	if got[1].Seq != 0 || got[1].Payload != nil || got[1].Publisher != "" {
		t.Errorf("a foreign client's: %+v", got[1])
	}
}

// Seq counts per publisher, topic and partition, whoever is subscribed.
func TestSequences(t *testing.T) {
	tr := memory.NewBroker().Connect()
	in, _ := serve(t, tr)
	halved := func(id string) *transport.Envelope {
		return &transport.Envelope{Topic: "n", Publisher: "p", ID: id, Partitions: 2}
	}
	publish(t, tr, halved("unseen"))
	subscribe(t, tr, transport.Topic{Name: "n", Partitions: 2}, transport.Topic{Name: "m"})
	want := map[string]uint64{}
	for i := range 100 {
		e := &transport.Envelope{Topic: "n", Publisher: fmt.Sprint("p", i%3), Partitions: 2, Partition: i % 2}
		if i%5 == 0 {
			e.Topic, e.Partitions, e.Partition = "m", 0, 0
		}
		publish(t, tr, e)
		k := fmt.Sprint(e.Topic, e.Partition, e.Publisher)
		want[k]++
		if got := in.take(); len(got) != 1 || got[0].Seq != want[k] {
			t.Errorf("%s: %+v, want number %d", k, got, want[k])
		}
	}
	publish(t, tr, halved("seen"))
	if got := in.take(); got[0].Seq != 2 {
		t.Errorf("an event that nobody saw was not counted: %d", got[0].Seq)
	}
}

// However many publish at once, each subscriber sees the numbers of each publisher in their order
// and without holes, and all the same order.
func TestConcurrentPublishersKeepOrder(t *testing.T) {
	broker := memory.NewBroker()
	var trs []*memory.Transport
	var ins []*inbox
	for range 3 {
		tr := broker.Connect()
		in, _ := serve(t, tr)
		subscribe(t, tr, topicN)
		trs, ins = append(trs, tr), append(ins, in)
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() { // two goroutines a publisher
			for i := range 300 {
				id := fmt.Sprint(g, "-", i)
				envs := []*transport.Envelope{{Topic: "n", Publisher: fmt.Sprint("p", g/2), ID: id}, {Topic: "n", Publisher: fmt.Sprint("p", g/2), ID: id + "b"}}
				publish(t, trs[g/2], envs...)
			}
		})
	}
	wg.Wait()
	first := ids(ins[0].take())
	for _, in := range ins[1:] {
		got := in.take()
		if ids(got) != first {
			t.Error("two subscribers saw different orders")
		}
		last := map[string]uint64{}
		byGoroutine := map[byte]int{}
		for _, e := range got {
			if e.Seq != last[e.Publisher]+1 {
				t.Fatalf("publisher %s: %d after %d", e.Publisher, e.Seq, last[e.Publisher])
			}
			last[e.Publisher] = e.Seq
			byGoroutine[e.ID[0]]++
		}
		if len(got) != 3600 || byGoroutine['5'] != 600 {
			t.Errorf("%d came", len(got))
		}
	}
}

func TestUnsubscribe(t *testing.T) {
	tr := memory.NewBroker().Connect()
	in, _ := serve(t, tr)
	parts := transport.Topic{Name: "p", Partitions: 4}
	subscribe(t, tr, topicN, parts)
	if err := tr.Unsubscribe(t.Context(), topicN); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is not subscribed can be unsubscribed
		if err := tr.Unsubscribe(t.Context(), topicN); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, tr, env("n", "1"), &transport.Envelope{Topic: "p", Partitions: 4, Partition: 3, ID: "2"})
	if got := ids(in.take()); got != "[2]" {
		t.Errorf("%v", got)
	}
	if err := tr.Unsubscribe(t.Context(), parts); err != nil {
		t.Fatal(err)
	}
	for p := range 4 {
		if r := publish(t, tr, &transport.Envelope{Topic: "p", Partitions: 4, Partition: p}); r[0].Receivers != 0 {
			t.Errorf("partition %d: %+v", p, r)
		}
	}
	subscribe(t, tr, topicN)
	publish(t, tr, env("n", "3"))
	if got := ids(in.take()); got != "[3]" {
		t.Errorf("subscribed again: %v", got)
	}
}

// When Unsubscribe has returned nothing of the topic arrives, however busy its publishers are.
func TestUnsubscribeBesidePublishers(t *testing.T) {
	broker := memory.NewBroker()
	tr, pub := broker.Connect(), broker.Connect()
	in, _ := serve(t, tr)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					publish(t, pub, env("n", ""))
				}
			}
		})
	}
	for range 500 {
		subscribe(t, tr, topicN)
		if err := tr.Unsubscribe(t.Context(), topicN); err != nil {
			t.Fatal(err)
		}
		in.take()
		if got := in.take(); got != nil {
			t.Errorf("%d events after Unsubscribe returned", len(got))
		}
	}
	close(stop)
	wg.Wait()
}

// Publish needs no Serve; a context that has ended fails what was not yet accepted, with its cause.
func TestPublishContext(t *testing.T) {
	tr := memory.NewBroker().Connect()
	publish(t, tr, env("n", "1"))
	cause := errors.New("had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	results := make([]transport.Result, 2)
	tr.Publish(ctx, []*transport.Envelope{env("n", "2"), env("n", "3")}, results)
	for _, r := range results {
		if !errors.Is(r.Err, cause) || r.Receivers != 0 {
			t.Errorf("%+v", r)
		}
	}
	tr.Publish(ctx, nil, nil)
}

// TestNextBus: a bus leaves no subscription behind for the next one on its transport.
func TestNextBus(t *testing.T) {
	tr := memory.NewBroker().Connect()
	if err := tr.Claim(); err != nil {
		t.Fatal(err)
	}
	_, stop := serve(t, tr)
	subscribe(t, tr, topicN)
	stop()
	publish(t, tr, env("n", "missed"))
	tr.Release()
	in, _ := serve(t, tr)
	subscribe(t, tr, transport.Topic{Name: "m"})
	if r := publish(t, tr, env("n", "1"), env("m", "2")); r[0].Receivers != 0 || ids(in.take()) != "[2]" || in.gaps != nil {
		t.Errorf("%+v, gaps %v", r, in.gaps)
	}
}

// TestInvalid: what names no topic or partition is refused, and the rest of its batch accepted.
func TestInvalid(t *testing.T) {
	tr := memory.NewBroker().Connect()
	in, _ := serve(t, tr)
	subscribe(t, tr, topicN)
	results := make([]transport.Result, 6)
	tr.Publish(t.Context(), []*transport.Envelope{
		{Topic: "a{b}"}, {Topic: "n", Partition: 1}, {Topic: "n", Partition: -1}, {Topic: "n", Partitions: 2, Partition: 2},
		{Topic: "n", Partitions: -1}, env("n", "1"),
	}, results)
	for i, r := range results {
		if bad := i < 5; errors.Is(r.Err, transport.ErrInvalidTopic) != bad {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if got := ids(in.take()); got != "[1]" {
		t.Errorf("%v", got)
	}
	for _, topic := range []transport.Topic{{Name: "a{b}"}, {Name: "n", Partitions: 2}} {
		if err := tr.Subscribe(t.Context(), topic); !errors.Is(err, transport.ErrInvalidTopic) {
			t.Errorf("%+v: %v", topic, err)
		}
	}
	publish(t, tr, env("n", "2"))
	if got := ids(in.take()); got != "[2]" {
		t.Errorf("%v", got)
	}
}

func TestCapabilities(t *testing.T) {
	if c := memory.NewBroker().Connect().Capabilities(); c.Name != "memory" || c.MaxPayload != 0 {
		t.Errorf("%+v", c)
	}
}
