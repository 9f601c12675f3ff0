package file

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Config says how a file is used. The zero value is what most want.
type Config struct {
	// Sync is when Append and Commit return. The default is Always.
	Sync Sync
	// MaxPayload is the largest payload in bytes. 0 is transport.DefaultMaxPayload.
	MaxPayload int
}

// Sync is when what was appended or committed is durable.
type Sync time.Duration

// Always has Append and Commit return when the disk has it all.
const Always Sync = 0

// Interval has Append and Commit return at once, and makes what they did durable by one transaction
// each d, of 1 ms or more. Whatever ends the process may take with it what was answered in the last
// d, and while the disk was at the transaction before; never more, nor the file. What was appended
// can be fetched when it is durable. Begin, and all else that changes a consumer, waits for the disk.
func Interval(d time.Duration) Sync { return Sync(max(d, time.Millisecond)) }

func (c Config) capabilities() transport.LogCapabilities {
	limit := c.MaxPayload
	if limit <= 0 {
		limit = transport.DefaultMaxPayload
	}
	return transport.LogCapabilities{Name: "file", MaxPayload: limit, Within: true, Poll: time.Duration(max(0, c.Sync))}
}
