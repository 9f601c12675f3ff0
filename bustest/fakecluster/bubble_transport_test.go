package fakecluster_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestTransportInABubble: fail-overs, a migration and an hour of quiet of the real transport, on virtual time.
func TestTransportInABubble(t *testing.T) {
	for _, version := range []string{"7.0.15", "7.2.4", "8.0.0"} {
		t.Run(version, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fakecluster.AwaitClients(t)
				c := fakecluster.New(t, fakecluster.Config{Replicas: 1, Version: version})
				transportLives(t, c, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
				if version == fakecluster.DefaultVersion {
					time.Sleep(time.Hour) // of polls and pings: seconds of ours
				}
			})
		})
	}
}
