package redistest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SlotCount is how many hash slots a cluster has.
const SlotCount = 16384

// A SlotRange is a run of hash slots, both ends included.
type SlotRange struct{ First, Last int }

// shareOut splits all slots into n contiguous ranges of even size, up to one.
func shareOut(n int) []SlotRange {
	ranges := make([]SlotRange, n)
	for i := range ranges {
		ranges[i] = SlotRange{First: i * SlotCount / n, Last: (i+1)*SlotCount/n - 1}
	}
	return ranges
}

// parseSlotRange reads "5" or "0-5460".
func parseSlotRange(word string) (SlotRange, error) {
	first, last, isRange := strings.Cut(word, "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(last)
	if errA != nil || errB != nil || a < 0 || b < a || b >= SlotCount {
		return SlotRange{}, fmt.Errorf("redistest: slot range %q", word)
	}
	return SlotRange{First: a, Last: b}, nil
}

// contains reports whether slot is in one of ranges.
func contains(ranges []SlotRange, slot int) bool {
	return slices.ContainsFunc(ranges, func(r SlotRange) bool { return r.First <= slot && slot <= r.Last })
}

// count returns how many slots the ranges hold.
func count(ranges []SlotRange) int {
	n := 0
	for _, r := range ranges {
		n += r.Last - r.First + 1
	}
	return n
}

// firstSlots returns the n lowest slots of ranges, fewer if there are fewer.
func firstSlots(ranges []SlotRange, n int) []int {
	var slots []int
	for _, r := range ranges {
		for s := r.First; s <= r.Last && len(slots) < n; s++ {
			slots = append(slots, s)
		}
	}
	return slots
}
