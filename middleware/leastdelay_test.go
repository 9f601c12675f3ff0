package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// However short a delay is asked for, and by whom, an event that comes again for ever has at most a
// thousand attempts a second, and others are handled meanwhile.
func TestAttemptsComeNoFasterThanTheFloor(t *testing.T) {
	again := errors.New("again")
	verdicts := map[string]error{
		"Snooze(0)":        bus.Snooze(0),
		"Snooze(-1)":       bus.Snooze(-time.Hour),
		"Snooze(1ns)":      bus.Snooze(1),
		"RetryAfter(0)":    bus.RetryAfter(0, again),
		"RetryAfter(1µs)":  bus.RetryAfter(time.Microsecond, again),
		"a bare Verdict":   &bus.Verdict{Action: bus.ActionSnooze},
		"plain, and Retry": again,
	}
	retry := bus.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: -1, InitialDelay: 1, MaxDelay: 1, Jitter: 1}))
	for _, kind := range []string{"single", "batch", "batch, by event", "actor", "building an actor"} {
		for name, verdict := range verdicts {
			t.Run(kind+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b, topic := newTopic(t, bus.Config{})
					attempts, events := 0, 1 // of which each may come again
					handle := func(j job) error {
						if j.Key != "stuck" {
							return nil
						}
						attempts++
						return verdict
					}
					one := func(_ context.Context, j job) error { return handle(j) }
					var sub *bus.Subscription
					var err error
					switch kind {
					case "single":
						sub, err = topic.Subscribe(t.Context(), "worker", one, retry)
					case "actor":
						sub, err = topic.Spawn(t.Context(), "worker", func(context.Context, string) (bus.Actor[job], error) {
							return bus.Actor[job]{Handle: one}, nil
						}, retry)
					case "building an actor":
						sub, err = topic.Spawn(t.Context(), "worker", func(_ context.Context, key string) (bus.Actor[job], error) {
							if name == "plain, and Retry" && key == "stuck" {
								attempts++
								return bus.Actor[job]{}, bus.RetryAfter(0, verdict)
							}
							return bus.Actor[job]{Handle: one}, handle(job{Key: key})
						}, retry)
					default:
						events = 2
						sub, err = topic.SubscribeBatch(t.Context(), "worker", func(_ context.Context, batch []bus.Message[job]) error {
							failed := &bus.BatchError{}
							for i, m := range batch {
								err := handle(m.Value)
								if err != nil && kind == "batch" && len(batch) == 1 {
									return err
								} else if err != nil {
									failed.Failed = append(failed.Failed, bus.IndexedError{Index: i, Err: err})
								}
							}
							if len(failed.Failed) > 0 {
								return failed
							}
							return nil
						}, retry)
					}
					if err != nil {
						t.Fatal(err)
					}
					publish(t, topic, job{Key: "stuck", N: 1})
					publish(t, topic, job{Key: "stuck", N: 2}) // waits behind it
					publish(t, topic, job{Key: "free"})
					time.Sleep(time.Second - time.Nanosecond)
					synctest.Wait()
					if st := sub.Stats(); st.Handled != 1 || st.Deferred != 2 {
						t.Errorf("%v", st)
					}
					if attempts < 500 || attempts > events*1001 {
						t.Errorf("%d attempts in a second", attempts)
					}
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}
