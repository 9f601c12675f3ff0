package bus_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport/memory"
)

// Batches that time out, panic, end their goroutine or come again in part, with duplicates among
// them, under all of our middleware: Debug has nothing to say, and changes nothing of what is handled.
func TestDebugOfBatches(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		for _, broker := range []bool{false, true} {
			var ledgers [2]string
			for i, debug := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					core, logs := observer.New(zap.ErrorLevel)
					cfg := bus.Config{Logger: zap.New(core), Debug: debug}
					if broker {
						cfg.Transport = memory.NewBroker().Connect()
					}
					b := newBus(t, cfg)
					topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
					calls := make(map[int]int)
					h := func(ctx context.Context, batch []bus.Message[event]) error {
						first := batch[0].Value.N
						calls[first]++
						switch {
						case first%7 == 1 && calls[first] == 1:
							<-ctx.Done()
							return context.Cause(ctx)
						case first%7 == 2 && calls[first] == 1:
							panic("boom")
						case first%7 == 3 && calls[first] == 1:
							runtime.Goexit()
						case first%7 == 4 && calls[first] == 1:
							return &bus.BatchError{Failed: []bus.IndexedError{{Index: len(batch) - 1, Err: errors.New("the last")}}}
						case first%7 == 5:
							return bus.DeadLetter(errors.New("never"))
						}
						return nil
					}
					opts := []bus.BatchOption{bus.BatchSize(5), bus.BatchLinger(time.Second), bus.PanicBudget(1000, time.Hour), bus.Use(
						middleware.Logging(zap.NewNop(), middleware.LoggingConfig{Successes: true}),
						middleware.Retry(middleware.RetryConfig{Jitter: 1e-12}),
						middleware.Dedup(middleware.DedupConfig{}),
						middleware.Timeout(time.Second),
					)}
					if lanes > 1 {
						opts = append(opts, bus.Lanes(lanes))
						h = func(context.Context, []bus.Message[event]) error { return nil }
					}
					s, err := topic.SubscribeBatch(t.Context(), "s", h, opts...)
					if err != nil {
						t.Fatal(err)
					}
					for n := range 40 {
						for range 1 + n%2 { // every second one twice
							if err := topic.Publish(t.Context(), event{fmt.Sprint("k", n%3), n}, bus.ID(fmt.Sprint("id", n))); err != nil {
								t.Fatal(err)
							}
						}
					}
					shutdown(t, b)
					st := stats(t, s)
					ledgers[i] = fmt.Sprintf("handled %d, discarded %d, dead %d, panicked %d", st.Handled, st.Discarded, st.DeadLettered, st.Panicked)
					for _, entry := range logs.FilterMessage("misuse").All() {
						t.Error(entry.ContextMap())
					}
				})
			}
			t.Log(ledgers)
			if ledgers[0] != ledgers[1] {
				t.Errorf("%d lanes, broker %v: %s, and with Debug %s", lanes, broker, ledgers[0], ledgers[1])
			}
		}
	}
}
