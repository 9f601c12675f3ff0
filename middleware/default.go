package middleware

import (
	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus"
)

// Default is what most subscriptions want, in the recommended order: [Logging] to logger, nil for
// none, and [Retry], both with their defaults. Use it as
//
//	bus.Use(middleware.Default(logger)...)
//
// The slice is the caller's: append what should be further in.
func Default(logger *zap.Logger) []bus.Middleware {
	return []bus.Middleware{Logging(logger, LoggingConfig{}), Retry(RetryConfig{})}
}
