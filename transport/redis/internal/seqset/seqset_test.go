package seqset_test

import (
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"pgregory.net/rapid"
)

func TestSetAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set seqset.Set
		want := map[uint64]bool{}
		for range rapid.IntRange(0, seqset.MaxRanges).Draw(t, "adds") { // too few to be merged
			from := rapid.Uint64Range(1, 60).Draw(t, "from")
			r := seqset.Range{From: from, To: from + rapid.Uint64Range(0, 5).Draw(t, "more")}
			set = set.With(r)
			for n := r.From; n <= r.To; n++ {
				want[n] = true
			}
		}
		again, err := seqset.Parse(set.String())
		if err != nil || again.String() != set.String() {
			t.Fatalf("%q read back as %q, %v", set, again, err)
		}
		next := uint64(1)
		set.Split(seqset.Range{From: 1, To: 80}, func(piece seqset.Range, inside bool) {
			if piece.From != next {
				t.Fatalf("a piece begins at %d, want %d", piece.From, next)
			}
			for ; next <= piece.To; next++ {
				if want[next] != inside {
					t.Fatalf("%d: inside %v in %q", next, inside, set)
				}
			}
		})
		if next != 81 {
			t.Fatalf("the pieces end at %d", next-1)
		}
	})
}

func TestSetIsBoundedAndForgetsNothing(t *testing.T) {
	var set seqset.Set
	for n := uint64(1); n < 200; n += 2 {
		set = set.With(seqset.Range{From: n, To: n})
		if len(set) > seqset.MaxRanges {
			t.Fatalf("%d ranges", len(set))
		}
	}
	for n := uint64(1); n < 200; n += 2 {
		set.Split(seqset.Range{From: n, To: n}, func(_ seqset.Range, inside bool) {
			if !inside {
				t.Errorf("%d was forgotten", n)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"0", "01", "+1", "3-2", "5,4", "5,6", "1-", "-1", ",", "1,,3", "18446744073709551615", "99999999999999999999"} {
		if set, err := seqset.Parse(text); err == nil {
			t.Errorf("%q was read as %v", text, set)
		}
	}
}
