package bustest

import (
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Option configures a [Bus] of [New].
type Option interface{ applyBus(*options) }

type option func(*options)

func (f option) applyBus(o *options) { f(o) }

type options struct {
	config      bus.Config
	broker      *memoryBroker
	refusal     string // what is wrong with an option
	waitTimeout time.Duration
	letters     bool
	goroutines  bool
	unbalanced  bool
	misuse      bool
	unchecked   bool // WithoutDebug
	maxPayload  int  // 0 is the default, less none
	inProcess   bool
	restart     *Bus // on whose log this one goes on
}

// defaultWaitTimeout is longer in a bubble, where waiting costs nothing and retries may be hours
// away. The clock of a bubble begins with the year 2000.
func defaultWaitTimeout() time.Duration {
	if time.Now().Year() < 2010 {
		return time.Hour
	}
	return 10 * time.Second
}

// Config sets the configuration of the bus: middleware, a logger, bounds. Its Transport must be
// nil. Without a Logger the bus logs to the test; without a Grace it has that of [WaitTimeout];
// Debug is on, see [WithoutDebug].
func Config(cfg bus.Config) Option { return option(func(o *options) { o.config = cfg }) }

// SharedWith puts the bus on the broker and the log of another, as two processes share a server: each
// receives what the other publishes, and groups of durable topics have members on both.
func SharedWith(other *Bus) Option {
	return option(func(o *options) {
		switch {
		case other == nil:
			o.refusal = "SharedWith was given a nil bus"
		case other.transport == nil:
			o.refusal = "SharedWith was given a bus InProcess, which has no broker to share: its events reach no other bus"
		default:
			o.broker, o.restart = other.transport.broker, other
			if other.store == nil { // its Config has a Log
				o.restart = nil
			}
		}
	})
}

// RestartOf has the bus go on with the log of another one, which has ended or crashed: durable topics
// have their events, and each subscription goes on where that of its name, or group, was. On a broker it
// is SharedWith, too. A bus that has not ended is another process on one log.
func RestartOf(other *Bus) Option {
	return option(func(o *options) {
		switch {
		case other == nil:
			o.refusal = "RestartOf was given a nil bus"
		case other.store == nil:
			o.refusal = "RestartOf was given a bus whose Config has a Log: Connect to that instead"
		default:
			o.restart = other
			if other.transport != nil {
				o.broker = other.transport.broker
			}
		}
	})
}

// WaitTimeout is how long functions of this package wait before they fail the test. Default 10 s,
// and in a synctest bubble, where it costs nothing, 1 h.
func WaitTimeout(d time.Duration) Option { return option(func(o *options) { o.waitTimeout = d }) }

// AllowDeadLetters accepts dead letters that the test does not look at.
func AllowDeadLetters() Option { return option(func(o *options) { o.letters = true }) }

// AllowGoroutines accepts handlers that run on after the end of the test, and other failures of
// Close. In a bubble, they keep the bubble from ending.
func AllowGoroutines() Option { return option(func(o *options) { o.goroutines = true }) }

// AllowUnbalanced accepts ledgers that don't balance. Only a defect of a transport or of the engine
// causes that; the option lets a test go on in spite of it.
func AllowUnbalanced() Option { return option(func(o *options) { o.unbalanced = true }) }

// AllowMisuse accepts what bus.Config.Debug reports: middleware that calls next twice, a Delivery
// that is used too late. The log has the reports nevertheless.
func AllowMisuse() Option { return option(func(o *options) { o.misuse = true }) }

// WithoutDebug leaves bus.Config.Debug off: misuse of events is not looked for. It is for tests
// that measure, or whose events are large.
func WithoutDebug() Option { return option(func(o *options) { o.unchecked = true }) }

// MaxPayload is the largest payload that the bus publishes, in bytes: Publish of a larger one fails
// with transport.ErrTooLarge, as on Redis. Default 1 MiB, as in transport/redis, where it is
// Config.MaxPayload. Less than 1 is no limit.
func MaxPayload(n int) Option {
	return option(func(o *options) {
		if o.maxPayload = n; n < 1 {
			o.maxPayload = -1
		}
	})
}
