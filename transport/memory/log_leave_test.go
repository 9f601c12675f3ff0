package memory_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// leaver is a sink that notes its leases.
type leaver struct {
	mu     sync.Mutex
	leases []transport.Lease
}

func (s *leaver) Assign(l transport.Lease, _ transport.LeaseState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases = append(s.leases, l)
}

// take is the leases since the last call.
func (s *leaver) take() []transport.Lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	leases := s.leases
	s.leases = nil
	return leases
}

func (*leaver) Revoke(transport.Lease, time.Duration) {}
func (*leaver) Lost(transport.Lease, error)           {}
func (*leaver) Wake(transport.Lease)                  {}
func (*leaver) Gap(transport.Gap)                     {}

// A member that gives back ranges in which events are deferred is about to leave: it gets none again, and the
// other one does.
func TestLeaverGetsNoRangeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		ctx, cancel := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		if _, err := store.Open(ctx, transport.LogTopic{Name: "t"}); err != nil {
			t.Fatal(err)
		}
		results := make([]transport.AppendResult, 1)
		store.Append(ctx, []transport.Batch{{Topic: "t", Envelopes: hundred()}}, results)
		if results[0].Err != nil {
			t.Fatal(results[0].Err)
		}
		join := func(log *memory.Log, name string) (transport.Consumer, *leaver) {
			t.Helper()
			serving.Go(func() { _ = log.Serve(ctx) })
			s := &leaver{}
			m, err := log.Consume(ctx, transport.ConsumerConfig{Topic: "t", Name: "c", Member: name, Start: transport.Start{From: transport.AtEarliest}}, s)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return m, s
		}
		release := func(m transport.Consumer, leases ...transport.Lease) {
			t.Helper()
			for _, l := range leases {
				if err := m.Release(ctx, l); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		a, ofA := join(store, "a")
		b, ofB := join(store.Connect(), "b")
		release(a, ofA.take()...) // of all of the partition, as it is to be shared
		for _, l := range ofA.take() {
			f, err := a.Fetch(ctx, l, l.From-1, 100, 1<<20)
			if err != nil || len(f.Entries) == 0 {
				t.Fatal(f, err)
			}
			var c transport.Commit
			for _, e := range f.Entries {
				c.Deferred = append(c.Deferred, transport.Deferral{Offset: e.Offset, Due: time.Now().Add(time.Hour)})
			}
			if err := a.Commit(ctx, l, c); err != nil {
				t.Fatal(err)
			}
			release(a, l)
		}
		if again := ofA.take(); len(again) > 0 {
			t.Errorf("a got %+v again", again)
		}
		release(b, ofB.take()...) // which is revoked, as b is to have all
		if got := ofB.take(); len(got) != 1 || !got[0].Whole() {
			t.Errorf("b got %+v", got)
		}
		cancel()
		serving.Wait()
	})
}

func hundred() (all []*transport.Envelope) {
	for range 100 {
		all = append(all, &transport.Envelope{Topic: "t", Payload: []byte("x")})
	}
	return all
}
