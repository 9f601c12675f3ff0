package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// A handler that ignores its timeout and succeeds is acknowledged, and the log of the bus tells of
// it: once for a batch. One that obeys, or is a little late, is not told of.
func TestTimeoutTellsOfLateSuccess(t *testing.T) {
	for _, batch := range []bool{false, true} {
		t.Run(fmt.Sprintf("batch %t", batch), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				core, logs := observer.New(zap.WarnLevel)
				b, err := bus.New(bus.Config{Logger: zap.New(core), SlowHandler: -1})
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				}()
				topic, err := bus.NewTopic(b, bus.TopicConfig[time.Duration]{Name: "jobs"})
				if err != nil {
					t.Fatal(err)
				}
				var s *bus.Subscription
				timeout := bus.Use(middleware.Timeout(time.Second))
				if batch {
					s, err = topic.SubscribeBatch(t.Context(), "s", func(_ context.Context, m []bus.Message[time.Duration]) error {
						time.Sleep(m[0].Value)
						return nil
					}, timeout, bus.BatchSize(2), bus.BatchLinger(time.Minute), bus.Lanes(1))
				} else {
					s, err = topic.Subscribe(t.Context(), "s", func(_ context.Context, d time.Duration) error { time.Sleep(d); return nil }, timeout)
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, d := range []time.Duration{999 * time.Millisecond, 1050 * time.Millisecond, 3 * time.Second} {
					n := 1
					if batch {
						n = 2
					}
					for range n {
						if err := topic.Publish(t.Context(), d); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(2 * time.Minute)
				}
				all := logs.All()
				if len(all) != 1 {
					t.Fatalf("%v", all)
				}
				fields := all[0].ContextMap()
				if fields["topic"] != "jobs" || fields["subscription"] != "s" || fields["timeout"] != time.Second || fields["late"] != 2*time.Second {
					t.Errorf("%v", fields)
				}
				if st := s.Stats(); st.Failed != 0 || st.Handled != st.Accepted {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// What a handler returns late stays its own: a verdict is carried out, and the text says that it
// came late.
func TestTimeoutKeepsLateVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errGone := errors.New("gone")
		after, err := attempt(t, func(context.Context) error {
			time.Sleep(3 * time.Second)
			return bus.RetryAfter(time.Hour, errGone)
		}, middleware.Timeout(time.Second))
		v, ok := bus.VerdictOf(err)
		if !ok || v.Action != bus.ActionRetry || v.After != time.Hour || !errors.Is(err, errGone) || errors.Is(err, middleware.ErrTimeout) || after != 3*time.Second {
			t.Errorf("after %v: %v", after, err)
		}
	})
}
