package redistest

import (
	"testing"

	"go.uber.org/goleak"
)

// shared is what tests that leave the cluster as they found it use.
var shared = Share(ClusterConfig{Primaries: 3, Replicas: 1})

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(Main(m, shared))
}
