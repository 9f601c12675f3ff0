package router

import (
	"testing"

	"pgregory.net/rapid"
)

func TestLineageIsOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := mustSnapshot(t, anyShards().Draw(t, "before")...)
		after := mustSnapshot(t, anyShards().Draw(t, "after")...)
		seen := make(map[int]bool)
		for i, from := range lineage(before, after) {
			if from == noShard {
				continue
			}
			if from < 0 || from >= before.Len() || seen[from] {
				t.Fatalf("shard %d continues %d, which is none or another's", i, from)
			}
			seen[from] = true
		}
		for i, from := range lineage(before, before) {
			if i != from {
				t.Fatalf("shard %d continues %d of the same snapshot", i, from)
			}
		}
	})
}
