package bus

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each time lies in its bucket, and buckets follow one another without a hole.
func TestHistogramBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "d") >> rapid.IntRange(0, 63).Draw(t, "shift"))
		i := bucketOf(d)
		if i > 0 && d < bucketEnd(i-1) || i < histogramBuckets-1 && d >= bucketEnd(i) {
			t.Fatalf("%d is in bucket %d, which ends before %d", d, i, bucketEnd(i))
		}
	})
	for i := 1; i < histogramBuckets-1; i++ {
		if last, end := bucketEnd(i-1), bucketEnd(i); end <= last || 2*end > 3*last {
			t.Errorf("bucket %d ends at %v, the one before at %v", i, end, last)
		}
	}
	if n := bucketEnd(histogramBuckets - 2); n < 10*time.Minute {
		t.Errorf("the last bucket begins at %v", n)
	}
}

// Quantiles are at most half of themselves off.
func TestHistogramQuantile(t *testing.T) {
	var all times
	for n := 1; n <= 1000; n++ {
		all.add(time.Duration(n) * time.Microsecond)
	}
	var h Histogram
	all.read(&h)
	if h.Count() != 1000 {
		t.Errorf("%d measured", h.Count())
	}
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := time.Duration(q * float64(time.Millisecond))
		if got := h.Quantile(q); got < want*2/3 || got > want*3/2 {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	var sum uint64
	for end, n := range h.Buckets() {
		if sum += n; end <= 0 {
			t.Errorf("a bucket ends at %v", end)
		}
	}
	if sum != 1000 || (Histogram{}).Quantile(0.5) != 0 || h.Quantile(-1) < 0 || h.Quantile(2) > 2*time.Millisecond {
		t.Errorf("%d in buckets, %v", sum, h.Quantile(2))
	}
}
