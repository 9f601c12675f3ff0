package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// soakTenths is in how many parts a soak is looked at.
const soakTenths = 10

// soakKeys is how many keys the soak's keyed topics have.
const soakKeys = 1000

var errSoak = errors.New("the soak failed")

// soak is every kind of subscription at once, for as many events as ten minutes
// bring: mailboxes that block and that drop, lanes by key with attempts that fail,
// and actors that come and go.
type soak struct {
	bus     *bus.Bus
	plain   *bus.Topic[Event]
	keyed   *bus.Topic[Event]
	keys    []string
	subs    []*bus.Subscription
	attempt atomic.Uint64
	built   atomic.Uint64
	stopped atomic.Uint64
}

func newSoak() (*soak, error) {
	b, err := newBus()
	if err != nil {
		return nil, err
	}
	s := &soak{bus: b, keys: keyNames()[:soakKeys]}
	if err := s.start(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return s, nil
}

func (s *soak) start() (err error) {
	if s.plain, err = bus.NewTopic(s.bus, bus.TopicConfig[Event]{Name: "plain"}); err != nil {
		return err
	}
	if s.keyed, err = bus.NewTopic(s.bus, bus.TopicConfig[Event]{
		Name: "keyed", Key: func(e Event) string { return s.keys[e.Key] },
	}); err != nil {
		return err
	}
	ctx := context.Background()
	add := func(sub *bus.Subscription, err error) error {
		s.subs = append(s.subs, sub)
		return err
	}
	return errors.Join(
		add(s.plain.Subscribe(ctx, "all", discard)),
		add(s.plain.Subscribe(ctx, "all.again", discard, bus.Mailbox(64, bus.Block))),
		add(s.plain.Subscribe(ctx, "newest", discard, bus.Mailbox(16, bus.DropOldest))),
		add(s.keyed.Subscribe(ctx, "lanes", s.flaky, bus.Lanes(w6Lanes))),
		add(s.keyed.Spawn(ctx, "actors", s.build, bus.Lanes(2), bus.MaxActors(soakKeys/2))),
	)
}

// flaky fails one attempt in a thousand, and gives up one event in a hundred
// thousand.
func (s *soak) flaky(_ context.Context, e Event) error {
	n := s.attempt.Add(1)
	switch {
	case n%100_000 == 0:
		return bus.DeadLetter(errSoak)
	case n%1000 == 0:
		return bus.RetryAfter(time.Duration(e.ID%3)*time.Millisecond, errSoak)
	}
	return nil
}

func (s *soak) build(context.Context, string) (bus.Actor[Event], error) {
	s.built.Add(1)
	state := uint64(0)
	return bus.Actor[Event]{
		Handle: func(_ context.Context, e Event) error { state += e.ID; return nil },
		Stop:   func(context.Context) error { s.stopped.Add(1); return nil },
	}, nil
}

// run publishes n events, in batches and, one in eight, by themselves and to the
// keyed topic, and looks at the heap and the ledgers at every tenth. It ends early
// when limit is over.
func (s *soak) run(w io.Writer, n uint64, limit time.Duration) error {
	ctx := context.Background()
	batch := make([]Event, 7*batchSize)
	start := time.Now()
	done, part := uint64(0), max(1, n/soakTenths)
	var heaps []float64
	for tenth := 1; tenth <= soakTenths; tenth++ {
		for done < uint64(tenth)*part {
			for i := range batch {
				batch[i] = event(done + uint64(i) + 1)
			}
			if err := s.plain.PublishBatch(ctx, batch); err != nil {
				return err
			}
			done += uint64(len(batch))
			for range batchSize {
				done++
				e := event(done)
				e.Key = done * 0x9E3779B97F4A7C15 >> 32 % soakKeys
				if err := s.keyed.Publish(ctx, e); err != nil {
					return err
				}
			}
		}
		heaps = append(heaps, s.settled())
		fmt.Fprintf(w, "  %3.0f s: %11d events, heap %6.2f MiB, %d goroutines, %d actors built\n",
			time.Since(start).Seconds(), done, heaps[len(heaps)-1]/(1<<20), runtime.NumGoroutine(), s.built.Load())
		for _, sub := range s.subs {
			if st := sub.Stats(); !st.Balanced() {
				return fmt.Errorf("%w: the ledger of %s does not balance: %v", errSoak, sub.Name(), st)
			}
		}
		if time.Since(start) > limit && tenth < soakTenths {
			fmt.Fprintf(w, "  time is over after %d tenths\n", tenth)
			break
		}
	}
	if len(heaps) < 3 {
		return nil
	}
	// Mailboxes, actors and the kept dead letters have their size after the second
	// look.
	if first, last := heaps[1], heaps[len(heaps)-1]; last > 1.1*first+(1<<20) {
		return fmt.Errorf("%w: the heap grew from %.0f to %.0f bytes", errSoak, first, last)
	}
	return nil
}

// settled is the heap once everything was handled.
func (s *soak) settled() float64 {
	for _, sub := range s.subs {
		for sub.Stats().Pending() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return memory()
}

// runSoak soaks the bus in n events and ends it in order.
func runSoak(w io.Writer, n uint64, limit time.Duration) error {
	s, err := newSoak()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "soak: %s events, of every kind of subscription at once\n", strconv.FormatUint(n, 10))
	if err := s.run(w, n, limit); err != nil {
		return errors.Join(err, s.bus.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := s.bus.Shutdown(ctx); err != nil {
		return err
	}
	for _, sub := range s.subs {
		st := sub.Stats()
		fmt.Fprintf(w, "  %-9s %v\n", sub.Name(), st)
		if !st.Balanced() || st.Pending() > 0 || st.Abandoned > 0 {
			return fmt.Errorf("%w: %s did not end in order: %v", errSoak, sub.Name(), st)
		}
	}
	if built, stopped := s.built.Load(), s.stopped.Load(); built != stopped {
		return fmt.Errorf("%w: %d actors were built and %d stopped", errSoak, built, stopped)
	}
	return nil
}
