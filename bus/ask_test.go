package bus_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/memory"
)

type question = bus.Request[string, int]

var questions = bus.TopicConfig[question]{Name: "questions"}

func length(_ context.Context, q string) (int, error) { return len(q), nil }

func TestAskIsAnswered(t *testing.T) {
	b := newBus(t, bus.Config{})
	topic := newTopic(t, b, questions)
	if _, err := bus.Ask(t.Context(), topic, "?"); !errors.Is(err, bus.ErrNoSubscriber) {
		t.Errorf("without a subscriber: %v", err)
	}
	s := subscribe(t, topic, "s", bus.Answer(length), bus.Lanes(4))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				q := fmt.Sprint(i, ":", j)
				if n, err := bus.Ask(t.Context(), topic, q); err != nil || n != len(q) {
					t.Errorf("%q: %d, %v", q, n, err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Drain(t.Context()); err != nil { // a reply may be there before its handler has returned
		t.Fatal(err)
	}
	if st := stats(t, s); st.Handled != 1600 {
		t.Errorf("%v", st)
	}
}

// However a request ends without a reply, its asker is told at once.
func TestAskWithoutReply(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		name    string
		handler func(ctx context.Context, r question) error
		want    error
	}{
		{"acknowledged", func(context.Context, question) error { return nil }, bus.ErrNoReply},
		{"failed", func(context.Context, question) error { return cause }, cause},
		{"discarded", func(context.Context, question) error { return bus.Discard(cause) }, cause},
		{"discarded without cause", func(context.Context, question) error { return bus.Discard(nil) }, bus.ErrNoReply},
		{"panicked", func(context.Context, question) error { panic(cause) }, cause},
		{"retried", func(_ context.Context, r question) error { return bus.RetryAfter(time.Hour, cause) }, context.DeadlineExceeded},
		{"slow", func(ctx context.Context, r question) error { <-ctx.Done(); return ctx.Err() }, context.DeadlineExceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, questions)
				subscribe(t, topic, "s", tc.handler)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := bus.Ask(ctx, topic, "?")
				var e *bus.Error
				if !errors.Is(err, tc.want) || !errors.As(err, &e) || e.Op != "ask" || e.Topic != "questions" {
					t.Errorf("%v, want %v", err, tc.want)
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What a mailbox drops, and what the end of the bus abandons, has an asker too.
func TestAskThatIsLost(t *testing.T) {
	for _, policy := range []bus.Policy{bus.DropOldest, bus.DropNewest, bus.Block} {
		t.Run(policy.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, questions)
				subscribe(t, topic, "s", func(ctx context.Context, r question) error { <-ctx.Done(); return ctx.Err() }, bus.Mailbox(1, policy))
				errs := make(chan error, 3)
				for range 3 { // one runs, one waits, one is dropped or waits outside
					go func() {
						_, err := bus.Ask(t.Context(), topic, "?")
						errs <- err
					}()
					synctest.Wait()
				}
				if policy != bus.Block {
					if err := <-errs; !errors.Is(err, bus.ErrMailboxFull) {
						t.Errorf("dropped: %v", err)
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				for range len(errs) {
					if err := <-errs; !errors.Is(err, bus.ErrClosed) {
						t.Errorf("at the end: %v", err)
					}
				}
			})
		})
	}
}

// A reply that comes after its asker gave up reaches nobody, least of all the
// next one to ask.
func TestLateReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, questions)
		replied := make(chan error, 2)
		subscribe(t, topic, "s", func(_ context.Context, r question) error {
			if r.Query == "slow" {
				time.Sleep(time.Minute)
			}
			replied <- r.Reply(len(r.Query))
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := bus.Ask(ctx, topic, "slow"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if n, err := bus.Ask(t.Context(), topic, "quick"); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if err := <-replied; !errors.Is(err, bus.ErrAskEnded) {
			t.Errorf("the late reply: %v", err)
		}
		if err := <-replied; err != nil {
			t.Errorf("the reply in time: %v", err)
		}
	})
}

func TestAskIsRefusedAcrossProcesses(t *testing.T) {
	b := newBus(t, bus.Config{Transport: memory.NewBroker().Connect()})
	topic := newTopic(t, b, questions)
	if _, err := bus.Ask(t.Context(), topic, "?"); !errors.Is(err, bus.ErrNotAcrossProcesses) {
		t.Errorf("%v", err)
	}
}

func BenchmarkAsk(b *testing.B) {
	eb := newBus(b, bus.Config{})
	topic := newTopic(b, eb, questions)
	subscribe(b, topic, "s", bus.Answer(length), bus.Use(passThrough))
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.Ask(ctx, topic, "?"); err != nil {
			b.Fatal(err)
		}
	}
}
