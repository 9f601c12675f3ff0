package redis_test

import (
	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/faultlab/busdriver"
	"github.com/shardbus/shardbus/transport/redis"
)

// patient repairs for as long as TestFaults waits for events. With the defaults a publisher that does not answer for 5 s
// is gone, and on a machine with a load of 40 a process stands still for longer than that. The program bench/faults
// measures the defaults.
var patient = redis.Repair{Timeout: faultlab.LongTimeout, Age: 4 * faultlab.LongTimeout}

// drivers is what the processes of TestFaults can be.
func drivers() map[string]faultlab.Driver {
	return map[string]faultlab.Driver{
		repairing: busdriver.New(redis.Config{Repair: patient}),
		standing:  busdriver.New(redis.Config{Repair: patient, Standby: true}),
		reporting: busdriver.New(redis.Config{Repair: redis.Repair{Off: true}}),
	}
}
