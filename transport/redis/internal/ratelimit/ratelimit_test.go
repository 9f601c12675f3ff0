package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/ratelimit"
	"pgregory.net/rapid"
)

// TestBucket: in any time no more is taken than the rate allows for it and one burst, and one unit
// beyond.
func TestBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := ratelimit.Rate{PerSecond: 10, Burst: 5}
		var b ratelimit.Bucket
		type taken struct {
			at time.Time
			n  float64
		}
		var all []taken
		now := time.Unix(1e6, 0)
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
			n := float64(rapid.IntRange(1, 3).Draw(t, "n"))
			if b.Left(now, rate) > 0 {
				b.Spend(n)
				all = append(all, taken{now, n})
			}
			sum := 0.0
			for i := len(all) - 1; i >= 0; i-- {
				sum += all[i].n
				if limit := rate.Burst + now.Sub(all[i].at).Seconds()*rate.PerSecond + 3; sum > limit+1e-6 {
					t.Fatalf("%v in %v", sum, now.Sub(all[i].at))
				}
			}
		}
	})
}

// TestForgersShareABucket: who makes up parties gets no more than the rate of all, and costs
// bounded memory; a party that asks for little among them is served again.
func TestForgersShareABucket(t *testing.T) {
	b := ratelimit.Buckets{Each: ratelimit.Rate{PerSecond: 10, Burst: 10}, All: ratelimit.Rate{PerSecond: 100, Burst: 100}, Parties: 16}
	now := time.Unix(1e6, 0)
	served := 0
	for i := range 10_000 {
		if name := fmt.Sprint(i); b.Left(now, name) > 0 {
			b.Spend(now, name, 1)
			served++
		}
	}
	if served != 100 {
		t.Errorf("%d were served at once", served)
	}
	if b.Left(now.Add(time.Second), "mine") <= 0 {
		t.Error("nobody is served any more")
	}
}
