package redis_test

import (
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/faultlab/busdriver"
	"github.com/shardbus/shardbus/transport/redis"
)

// drivers is what the processes of TestFaults can be.
func drivers() map[string]faultlab.Driver {
	return map[string]faultlab.Driver{
		repairing: busdriver.New(redis.Config{}),
		standing:  busdriver.New(redis.Config{Standby: true}),
		reporting: busdriver.New(redis.Config{Repair: redis.Repair{Off: true}}),
	}
}
