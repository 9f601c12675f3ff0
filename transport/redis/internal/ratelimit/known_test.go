package ratelimit_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/ratelimit"
)

// TestKnownPartiesKeepAShare: parties that are made up, each with a share of its own, use up what
// there is for unknown ones. What is known is served all the same, up to its own rate, and who is
// unknown among them is not served by its share.
func TestKnownPartiesKeepAShare(t *testing.T) {
	known := &ratelimit.Known{Parties: 4}
	known.Add("friend")
	b := ratelimit.Buckets{
		Each: ratelimit.Rate{PerSecond: 20, Burst: 20}, All: ratelimit.Rate{PerSecond: 100, Burst: 100}, Parties: 16,
		Others: ratelimit.Rate{PerSecond: 50, Burst: 50}, Known: known,
	}
	now := time.Unix(1e6, 0)
	unknown, friend := 0, 0
	for i := range 10_000 { // 10 s
		now = now.Add(time.Millisecond)
		for j := range 3 {
			if name := fmt.Sprint(i, "/", j); b.Left(now, name) > 0 {
				b.Spend(now, name, 1)
				unknown++
			}
		}
		if i%50 == 0 { // 20 a second
			if b.Left(now, "friend") <= 0 {
				t.Fatalf("after %d ms a known party is not served", i)
			}
			b.Spend(now, "friend", 1)
			friend++
		}
	}
	if friend != 200 || unknown < 500 || unknown > 552 {
		t.Errorf("%d of a known party, %d of unknown ones", friend, unknown)
	}
}

// TestKnownIsBounded: as many as are told apart are kept, those that are looked for first.
func TestKnownIsBounded(t *testing.T) {
	k := ratelimit.Known{Parties: 4}
	k.Add("first")
	for i := range 1000 {
		k.Add(fmt.Sprint(i))
		if !k.Has("first") {
			t.Fatalf("after %d others, one that is looked for is forgotten", i)
		}
	}
	kept := 0
	for i := range 1000 {
		if k.Has(fmt.Sprint(999 - i)) {
			kept++
		}
	}
	if kept > 8 || kept < 3 || k.Has("unknown") {
		t.Errorf("%d are kept", kept)
	}
}
