package middleware_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// wildCore is a user's core that does something else in place of writing.
type wildCore struct {
	zapcore.Core
	do func()
}

func (wildCore) Enabled(zapcore.Level) bool          { return true }
func (c wildCore) With([]zapcore.Field) zapcore.Core { return c }
func (c wildCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce.AddCore(e, c)
}
func (c wildCore) Write(zapcore.Entry, []zapcore.Field) error { c.do(); return nil }

// What a logger does harms nobody: neither the attempt whose failure it is told of, nor the process when the
// summary comes, on a timer's goroutine or at the end of the subscription.
func TestLoggingWithBrokenLogger(t *testing.T) {
	for name, does := range map[string]func(){"panics": func() { panic("in the logger") }, "ends": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told atomic.Int32
				logger := zap.New(wildCore{zapcore.NewNopCore(), func() { told.Add(1); does() }}, zap.ErrorOutput(discardSync{}))
				b, topic := newTopic(t, bus.Config{})
				sub := subscribe(t, topic, func(_ context.Context, m bus.Message[job]) error {
					if m.Value.N == 0 {
						return errBroken
					}
					return nil
				}, bus.PanicBudget(0, time.Hour), bus.Use(middleware.Logging(logger, middleware.LoggingConfig{Successes: true})))
				fails := func() {
					for range 3 {
						publish(t, topic, job{Key: "k"})
					}
					publish(t, topic, job{Key: "k", N: 1})
				}
				fails()
				time.Sleep(time.Minute) // the period ends
				fails()
				shutdown(t, b, sub)
				synctest.Wait()
				if st := sub.Stats(); st.DeadLettered != 6 || st.Handled != 2 || st.Panicked != 0 {
					t.Errorf("%v", st)
				}
				if n := told.Load(); n != 6 { // the first failure of each period, a success, and the summary
					t.Errorf("the logger was told %d times", n)
				}
			})
		})
	}
}

// discardSync is where zap's own complaints go.
type discardSync struct{}

func (discardSync) Write(p []byte) (int, error) { return len(p), nil }
func (discardSync) Sync() error                 { return nil }
