package bus

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// What a member of a group accepted stays its own when it leaves, as its ledger tells,
// also when it is the last one; what is published then reaches nobody and is counted
// so; and once the last event is settled nothing of the group is kept.
func TestGroupEnds(t *testing.T) {
	type value struct {
		key string
		n   int
	}
	const events = 40
	for _, kind := range []string{"block", "drop oldest", "keep latest", "batch"} {
		for _, end := range []string{"drain", "hasty drain", "panics", "first leaves slowly", "idle"} {
			t.Run(kind+"/"+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, err := New(Config{})
					if err != nil {
						t.Fatal(err)
					}
					defer b.Close()
					topic, err := NewTopic(b, TopicConfig[value]{Name: "n", Key: func(v value) string { return v.key }})
					if err != nil {
						t.Fatal(err)
					}
					slow := map[string]time.Duration{"a": time.Second, "b": time.Millisecond}
					member := func(name string) *Subscription {
						handle := func() error {
							time.Sleep(slow[name])
							if end == "panics" {
								panic("a handler's")
							}
							return nil
						}
						var s *Subscription
						var err error
						policy := map[string]Policy{"drop oldest": DropOldest, "keep latest": KeepLatest}[kind]
						if kind == "batch" {
							s, err = topic.SubscribeBatch(t.Context(), name, func(context.Context, []Message[value]) error { return handle() }, Group("workers"), BatchSize(4), PanicBudget(3, time.Minute))
						} else {
							s, err = topic.Subscribe(t.Context(), name, func(context.Context, value) error { return handle() },
								Group("workers"), Lanes(2), Mailbox(1000, policy), PanicBudget(3, time.Minute))
						}
						if err != nil {
							t.Fatal(err)
						}
						return s
					}
					groups := func() int {
						fan := &topic.fanout
						fan.mu.Lock()
						defer fan.mu.Unlock()
						return len(fan.mu.groups)
					}
					published := 0
					publish := func() {
						published += events
						for i := range events {
							if err := topic.Publish(t.Context(), value{fmt.Sprint("k", i), i}); err != nil {
								t.Fatal(err)
							}
						}
					}
					members := []*Subscription{member("a")}
					ctx := t.Context()
					if end == "hasty drain" {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, 500*time.Millisecond)
						defer cancel()
					}
					if end != "idle" {
						publish()
					}
					if end == "first leaves slowly" {
						members = append(members, member("b"))
						publish()
					}
					if end == "panics" {
						<-members[0].Done()
					}
					for _, s := range members {
						go s.Drain(ctx)
					}
					synctest.Wait()
					accepted := uint64(published)
					publish()
					if got := topic.Stats().Unrouted; got != events {
						t.Errorf("%d events were told to have reached nobody, want %d", got, events)
					}
					pending := uint64(0)
					for _, s := range members {
						pending += s.Stats().Pending()
					}
					if want := end != "idle" && end != "panics"; (pending > 0) != want || (groups() > 0) != want {
						t.Errorf("%d events pending of %d groups", pending, groups())
					}
					for _, s := range members {
						<-s.Done()
						st := s.Stats()
						accepted -= st.Accepted
						if !st.Balanced() || st.Pending() > 0 || (st.Abandoned > 0) != (end == "hasty drain" || end == "panics") {
							t.Errorf("%s: %v", s.Name(), st)
						}
					}
					if accepted != 0 {
						t.Errorf("%d events less were accepted than published", int(accepted))
					}
					if n := groups(); n != 0 {
						t.Errorf("%d groups are kept", n)
					}
				})
			})
		}
	}
}
