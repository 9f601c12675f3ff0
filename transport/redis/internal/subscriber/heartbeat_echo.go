package subscriber

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// heartbeatEcho are what the consumer of a session hears of its probe, and the reader looks at.
type heartbeatEcho struct {
	suffix string // of the probe's channel: no other connection has one that ends so

	heard    atomic.Uint64 // messages that were handed over
	echo     atomic.Uint64 // the last probe that was
	on       atomic.Bool   // the probe's channel is subscribed
	channels atomic.Int64  // how many others are
}

func (e *heartbeatEcho) init() { e.suffix = wire.ProbeSuffix(strconv.FormatUint(rand.Uint64(), 36)) }

// listen takes in a message on a channel that is none of the subscriptions'.
func (e *heartbeatEcho) listen(channel, message string) {
	if !strings.HasSuffix(channel, e.suffix) {
		return
	}
	if n, err := strconv.ParseUint(message, 10, 64); err == nil {
		e.echo.Store(n)
	}
}

// confirmed takes in that a channel is subscribed, or is not any more, and reports whether it is the probe's.
func (e *heartbeatEcho) confirmed(channel string, on bool) bool {
	if !strings.HasSuffix(channel, e.suffix) {
		return false
	}
	e.on.Store(on)
	return true
}
