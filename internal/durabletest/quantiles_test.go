package durabletest

import (
	"slices"
	"testing"
	"time"
)

// quantiles reports the median and the 99th percentile.
func quantiles(b *testing.B, times []time.Duration) {
	b.Helper()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}
