package bus

import (
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets of a Histogram: two for each doubling of the time, from 32 ns on.
const (
	histogramBuckets = 72
	firstBucketBits  = 5 // the first ends at 1<<5 ns
)

// Histogram counts how often times of certain lengths were measured. It is a value with fixed
// buckets; each is at most one and a half times as long as the one before it. The last, from about
// 15 minutes on, has no end.
type Histogram struct {
	counts [histogramBuckets]uint64
}

// bucketOf is the bucket of d: the two highest bits of its nanoseconds choose it.
func bucketOf(d time.Duration) int {
	n := uint64(max(0, d))
	if n < 1<<firstBucketBits {
		return 0
	}
	top := bits.Len64(n) - 1
	half := int(n >> (top - 1) & 1)
	return min(1+2*(top-firstBucketBits)+half, histogramBuckets-1)
}

// bucketEnd is the time before which bucket i ends.
func bucketEnd(i int) time.Duration {
	if i == histogramBuckets-1 {
		return math.MaxInt64
	}
	end := time.Duration(1) << (firstBucketBits + i/2)
	return end + time.Duration(i%2)*end/2
}

// Count is how many times were measured.
func (h Histogram) Count() (n uint64) {
	for _, c := range h.counts {
		n += c
	}
	return n
}

// Quantile returns a time that the share q of all measured times, from 0 to 1, did not exceed: 0.99
// gives the 99th percentile. It is interpolated within a bucket, and so off by at most half of
// itself; 0 if nothing was measured.
func (h Histogram) Quantile(q float64) time.Duration {
	rank := min(1, max(0, q)) * float64(h.Count())
	var below float64
	for i, c := range h.counts {
		if c == 0 || below+float64(c) < rank {
			below += float64(c)
			continue
		}
		start := time.Duration(0)
		if i > 0 {
			start = bucketEnd(i - 1)
		}
		if i == histogramBuckets-1 {
			return start
		}
		return start + time.Duration((rank-below)/float64(c)*float64(bucketEnd(i)-start))
	}
	return 0
}

// Buckets lists the buckets that are not empty: the time at which each ends, and how many times
// were measured in it. The last ends with the longest Duration.
func (h Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, c := range h.counts {
			if c > 0 && !yield(bucketEnd(i), c) {
				return
			}
		}
	}
}

// times is a Histogram that lanes write while others read it.
type times struct {
	counts [histogramBuckets]atomic.Uint64
}

func (t *times) add(d time.Duration) { t.counts[bucketOf(d)].Add(1) }

// read adds what was measured so far to h.
func (t *times) read(h *Histogram) {
	for i := range t.counts {
		h.counts[i] += t.counts[i].Load()
	}
}
