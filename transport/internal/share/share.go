// Package share decides which member of a consumer holds which partition. It is pure.
package share

import "slices"

// Owners that are no member.
const (
	Free    = -1 // nobody holds the partition
	Pending = -2 // it was asked back, and whoever gets it is decided when it is free
)

// Move is a partition that a member gets.
type Move struct{ Partition, Member int }

// Plan says who gets the partitions that are free, and which are to be asked back, so that the
// shares differ by one at most once those are free too. owners[p] is the member, of 0 to members-1,
// that holds partition p, or Free or Pending. No partition moves that need not.
func Plan(members int, owners []int) (moves []Move, revoke []int) {
	if members == 0 {
		return nil, nil
	}
	shares, pending := make([]int, members), 0
	for _, owner := range owners {
		switch {
		case owner >= 0:
			shares[owner]++
		case owner == Pending:
			pending++
		}
	}
	for partition, owner := range owners {
		if owner == Free {
			member := smallest(shares)
			shares[member]++
			moves = append(moves, Move{partition, member})
		}
	}
	for {
		// What is pending will go to those that have the least.
		then := slices.Clone(shares)
		for range pending {
			then[smallest(then)]++
		}
		largest := 0
		for member, share := range shares {
			if share > shares[largest] {
				largest = member
			}
		}
		if shares[largest]-slices.Min(then) <= 1 {
			return moves, revoke
		}
		for partition := len(owners) - 1; ; partition-- {
			if owners[partition] == largest && !slices.Contains(revoke, partition) {
				revoke = append(revoke, partition)
				break
			}
		}
		shares[largest]--
		pending++
	}
}

// smallest is the first member that has the least.
func smallest(shares []int) int {
	found := 0
	for member, share := range shares {
		if share < shares[found] {
			found = member
		}
	}
	return found
}
