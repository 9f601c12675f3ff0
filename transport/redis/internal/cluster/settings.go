package cluster

import (
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// Settings say where the servers are, and how they are reached.
type Settings struct {
	// Addrs are the start addresses: nodes of a cluster, or standalone servers. Empty with
	// sentinels.
	Addrs []string
	// SentinelAddrs are the sentinels that know the primary under the name Primary. Empty: there
	// are none.
	SentinelAddrs []string
	Primary       string

	// Servers and Sentinels are how they are reached. Sentinels is nil where there are none.
	Servers, Sentinels *conn.Settings

	// Standby has the nodes say whether they are cut off,.
	Standby bool
	// FindTimeout is how long a primary is looked for while some server answers and none is one.
	FindTimeout time.Duration

	Logger *zap.Logger
}
