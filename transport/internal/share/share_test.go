package share_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/transport/internal/share"
	"pgregory.net/rapid"
)

// TestPlan: members come and go, and partitions are given back in any order. In the end all are
// held, and the shares differ by one at most. No more are asked back than that needs.
func TestPlan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		owners := make([]int, rapid.IntRange(1, 40).Draw(t, "partitions"))
		for p := range owners {
			owners[p] = share.Free
		}
		members := 0
		apply := func() {
			moves, revoke := share.Plan(members, owners)
			for _, m := range moves {
				if owners[m.Partition] != share.Free {
					t.Fatalf("%v moves, of %v", m, owners)
				}
				owners[m.Partition] = m.Member
			}
			for _, p := range revoke {
				if owners[p] < 0 {
					t.Fatalf("%d is asked back, of %v", p, owners)
				}
				owners[p] = share.Pending
			}
			if moves, revoke = share.Plan(members, owners); len(moves)+len(revoke) > 0 {
				t.Fatalf("a second plan has %v, %v", moves, revoke)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				if members == 9 {
					t.Skip("enough")
				}
				members++
				before := slices.Clone(owners)
				apply()
				asked := 0
				for p := range owners {
					if before[p] >= 0 && owners[p] != before[p] {
						asked++
					}
				}
				if asked > len(owners)/members {
					t.Fatalf("%d of %d are asked back for member %d", asked, len(owners), members)
				}
			},
			"leave": func(t *rapid.T) {
				if members == 0 {
					t.Skip("nobody")
				}
				gone := rapid.IntRange(0, members-1).Draw(t, "member")
				members--
				for p, owner := range owners {
					switch {
					case owner == gone:
						owners[p] = share.Free
					case owner > gone:
						owners[p]--
					}
				}
				apply()
			},
			"release": func(t *rapid.T) {
				p := slices.Index(owners, share.Pending)
				if p < 0 {
					t.Skip("none is asked back")
				}
				owners[p] = share.Free
				apply()
			},
		})
		for slices.Contains(owners, share.Pending) {
			owners[slices.Index(owners, share.Pending)] = share.Free
			apply()
		}
		if members == 0 {
			return
		}
		shares := make([]int, members)
		for _, owner := range owners {
			shares[owner]++
		}
		if slices.Max(shares)-slices.Min(shares) > 1 {
			t.Fatalf("%v", shares)
		}
	})
}
