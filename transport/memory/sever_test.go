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

// What others publish meanwhile is one gap for each of them, told by mend, before anything newer.
func TestSeverLeavesGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		a, b := broker.Connect(), broker.Connect()
		in, stop := serve(t, b)
		defer stop()
		subscribe(t, b, topicN)
		publish(t, a, env("n", "1"))
		began := time.Now()
		time.Sleep(time.Second)
		mend := b.Sever()
		for i, r := range publish(t, a, env("n", "2"), env("n", "3")) {
			if r.Err != nil || r.Receivers != 0 {
				t.Errorf("event %d of who is connected: %+v", i, r)
			}
		}
		again := b.Sever()
		mend()
		mend()
		if len(in.gaps) != 0 {
			t.Errorf("gaps before all is mended: %+v", in.gaps)
		}
		again()
		publish(t, a, env("n", "4"))
		if got := ids(in.take()); got != "[1 4]" {
			t.Errorf("received %v", got)
		}
		want := transport.Gap{
			Topic: "n", Publisher: "p", From: 2, To: 3, Count: 2, Since: began.Add(time.Second),
			Kind: transport.Lost, Reason: transport.Disconnected,
		}
		if len(in.gaps) != 1 || in.gaps[0] != want {
			t.Errorf("gaps %+v, want %+v", in.gaps, want)
		}
	})
}

// Publish and Subscribe wait for mend, or the end of their contexts.
func TestSeverHasCallersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		enough := errors.New("enough")
		broker := memory.NewBroker()
		a, b := broker.Connect(), broker.Connect()
		in, stop := serve(t, b)
		defer stop()
		_, stopA := serve(t, a)
		defer stopA()
		subscribe(t, b, topicN)
		mend := a.Sever()
		call := func(ctx context.Context, id string) (published, subscribed error) {
			results := make([]transport.Result, 1)
			a.Publish(ctx, []*transport.Envelope{env("n", id)}, results)
			return results[0].Err, a.Subscribe(ctx, topicN)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, enough)
		defer cancel()
		if p, s := call(ctx, "lost"); !errors.Is(p, enough) || !errors.Is(s, enough) {
			t.Errorf("Publish: %v, Subscribe: %v", p, s)
		}
		done := make(chan error)
		go func() {
			p, s := call(t.Context(), "late")
			done <- errors.Join(p, s)
		}()
		synctest.Wait()
		if len(in.got) != 0 {
			t.Errorf("%v got through", ids(in.got))
		}
		mend()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := ids(in.take()); got != "[late]" || len(in.gaps) != 0 {
			t.Errorf("received %v, gaps %v", got, in.gaps)
		}
	})
}

// What is published while a transport is severed, and not served, is told once it is both again,
// whichever comes first.
func TestSeverBesideServe(t *testing.T) {
	for _, mendFirst := range []bool{false, true} {
		t.Run(fmt.Sprint("mended first ", mendFirst), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := memory.NewBroker()
				a, b := broker.Connect(), broker.Connect()
				_, stop := serve(t, b)
				subscribe(t, b, topicN)
				mend := b.Sever()
				stop()
				publish(t, a, env("n", "1"))
				if mendFirst {
					mend()
				}
				in, stop := serve(t, b)
				defer stop()
				if !mendFirst {
					synctest.Wait()
					if len(in.gaps) != 0 {
						t.Errorf("told while severed: %v", in.gaps)
					}
					mend()
				}
				synctest.Wait()
				if len(in.gaps) != 1 || in.gaps[0].Count != 1 {
					t.Errorf("gaps %+v", in.gaps)
				}
			})
		})
	}
}

// Severed at any moment, a subscriber is told of each event once, in order: by the event or by a
// gap.
func TestSeverBesidePublishers(t *testing.T) {
	const publishers, events = 3, 2000
	broker := memory.NewBroker()
	b := broker.Connect()
	in, stop := serve(t, b)
	defer stop()
	subscribe(t, b, topicN)
	var wg sync.WaitGroup
	for p := range publishers {
		a := broker.Connect()
		wg.Go(func() {
			for range events {
				e := env("n", "")
				e.Publisher = fmt.Sprint(p)
				publish(t, a, e)
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range 100 {
				b.Sever()()
			}
		})
	}
	wg.Wait()
	told := map[string]map[uint64]int{}
	tell := func(publisher string, seq uint64) {
		if told[publisher] == nil {
			told[publisher] = map[uint64]int{}
		}
		told[publisher][seq]++
	}
	last := map[string]uint64{}
	for _, e := range in.take() {
		tell(e.Publisher, e.Seq)
		if e.Seq <= last[e.Publisher] {
			t.Fatalf("%d of %s behind %d", e.Seq, e.Publisher, last[e.Publisher])
		}
		last[e.Publisher] = e.Seq
	}
	for _, g := range in.gaps {
		for seq := g.From; seq <= g.To; seq++ {
			tell(g.Publisher, seq)
		}
	}
	for p := range publishers {
		seqs := told[fmt.Sprint(p)]
		for seq := uint64(1); seq <= events; seq++ {
			if seqs[seq] != 1 {
				t.Fatalf("event %d of %d was told %d times", seq, p, seqs[seq])
			}
		}
	}
}
