package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
)

// A thousand failures of one kind are two lines: the first, and how many more there were.
func ExampleLogging() {
	logger, written := textLogger()
	ctx := context.Background()
	b, _ := bus.New(bus.Config{})
	mails, _ := bus.NewTopic(b, bus.TopicConfig[int]{Name: "mails"})

	_, _ = mails.Subscribe(ctx, "smtp", func(context.Context, int) error {
		return errors.New("connection refused")
	}, bus.Use(middleware.Logging(logger, middleware.LoggingConfig{Period: time.Hour})))

	for n := range 1000 {
		_ = mails.Publish(ctx, n, bus.ID(fmt.Sprint("mail-", n)))
	}
	_ = b.Shutdown(ctx) // ends the hour early
	<-written
	<-written
	// Output:
	// ERROR handler failed {"topic": "mails", "subscription": "smtp", "id": "mail-0", "attempt": 1, "next": "undecided", "error": "connection refused"}
	// ERROR handler failed again {"topic": "mails", "subscription": "smtp", "times": 999, "within": "…", "next": "undecided", "error": "connection refused", "last_id": "mail-999", "last_attempt": 1}
}

// textLogger logs to standard output, without times and durations, and tells of each line written.
func textLogger() (logger *zap.Logger, written <-chan struct{}) {
	cfg := zap.NewDevelopmentEncoderConfig()
	cfg.TimeKey = ""
	cfg.ConsoleSeparator = " "
	cfg.EncodeDuration = func(_ time.Duration, enc zapcore.PrimitiveArrayEncoder) { enc.AppendString("…") }
	ch := make(chan struct{}, 100)
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(cfg), os.Stdout, zap.InfoLevel)
	return zap.New(core, zap.Hooks(func(zapcore.Entry) error { ch <- struct{}{}; return nil })), ch
}
