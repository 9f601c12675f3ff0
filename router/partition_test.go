package router

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPartitionIsFrozen pins the hash. It is on the wire: if this fails, the code is wrong, never
// the test. The numbers were computed with another implementation.
func TestPartitionIsFrozen(t *testing.T) {
	counts := [...]int{2, 3, 8, 16, 100, 4096}
	for _, v := range []struct {
		key  string
		hash uint32
		want [len(counts)]int
	}{
		{"", 0xab3e7c0b, [...]int{1, 2, 5, 10, 66, 2739}},
		{"a", 0x1a80b1b3, [...]int{0, 0, 0, 1, 10, 424}},
		{"ATL", 0x27f7a70d, [...]int{0, 0, 1, 2, 15, 639}},
		{"JFK", 0x130b337e, [...]int{0, 0, 0, 1, 7, 304}},
		{"user-1", 0x778f8aec, [...]int{0, 1, 3, 7, 46, 1912}},
		{"user-2", 0x32dad0d1, [...]int{0, 0, 1, 3, 19, 813}},
		{"order:42", 0x19750575, [...]int{0, 0, 0, 1, 9, 407}},
		{"Zürich", 0xad5bb597, [...]int{1, 2, 5, 10, 67, 2773}},
		{"\x00", 0x0578ab1b, [...]int{0, 0, 0, 0, 2, 87}},
		{"\xff\xfe", 0x817421d0, [...]int{1, 1, 4, 8, 50, 2071}},
		{strings.Repeat("x", 200), 0xd93573f1, [...]int{1, 2, 6, 13, 84, 3475}},
	} {
		if got := keyHash(v.key); got != v.hash {
			t.Errorf("keyHash(%q) = %#08x, want %#08x", v.key, got, v.hash)
		}
		for i, n := range counts {
			if got := Partition(v.key, n); got != v.want[i] {
				t.Errorf("Partition(%q, %d) = %d, want %d", v.key, n, got, v.want[i])
			}
		}
	}
}

func TestPartitionOfOneOrNone(t *testing.T) {
	for _, n := range []int{1, 0, -1, math.MinInt} {
		if got := Partition("key", n); got != 0 {
			t.Errorf("Partition(key, %d) = %d, want 0", n, got)
		}
	}
}

func TestPartitionIsInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, n := anyKey().Draw(t, "key"), rapid.IntRange(1, math.MaxInt).Draw(t, "n")
		if got := Partition(key, n); got < 0 || got >= n {
			t.Fatalf("Partition(%q, %d) = %d", key, n, got)
		}
	})
}

func TestPartitionSplitsWhenDoubled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, n := anyKey().Draw(t, "key"), rapid.IntRange(1, MaxPartitions/2).Draw(t, "n")
		if before, after := Partition(key, n), Partition(key, 2*n); after/2 != before {
			t.Fatalf("partition %d of %d became %d of %d", before, n, after, 2*n)
		}
	})
}

// keyFamilies are shapes of keys that people use, and that poor hashes stumble over.
var keyFamilies = map[string]func(i int) string{
	"decimal":       func(i int) string { return fmt.Sprint(i) },
	"prefixed":      func(i int) string { return fmt.Sprintf("user-%d", i) },
	"uuid":          func(i int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", i) },
	"three letters": func(i int) string { return string([]byte{byte('A' + i/676%26), byte('A' + i/26%26), byte('A' + i%26)}) },
	"big-endian":    func(i int) string { return string([]byte{0, 0, 0, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}) },
	"little-endian": func(i int) string { return string([]byte{byte(i), byte(i >> 8), byte(i >> 16), 0, 0, 0, 0, 0}) },
}

// skew is how far the counts are from even: their chi-squared statistic, in standard deviations
// from its mean.
func skew(counts []int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	want, chi := float64(total)/float64(len(counts)), 0.0
	for _, c := range counts {
		chi += (float64(c) - want) * (float64(c) - want) / want
	}
	freedom := float64(len(counts) - 1)
	return (chi - freedom) / math.Sqrt(2*freedom)
}

func TestPartitionIsUniform(t *testing.T) {
	const keys = 26 * 26 * 26 // as many as there are of three letters
	for family, key := range keyFamilies {
		for _, n := range []int{2, 3, 7, 16, 100, 1000} {
			counts := make([]int, n)
			for i := range keys {
				counts[Partition(key(i), n)]++
			}
			// The keys and the function are fixed, so this cannot flake. A fair one passes 5 once
			// in a thousand.
			if s := skew(counts); s > 5 {
				t.Errorf("%s keys over %d partitions: %.1f standard deviations from even", family, n, s)
			}
		}
	}
}

// TestPartitionIsIndependentOfSlot: among keys of one sixteenth of the slots, partitions are even,
// and so for each.
func TestPartitionIsIndependentOfSlot(t *testing.T) {
	const parts, keys = 16, 1 << 16
	var counts [parts][parts]int
	for i := range keys {
		key := fmt.Sprintf("user-%d", i)
		counts[Slot(key)*parts/Slots][Partition(key, parts)]++
	}
	for i := range counts {
		if s := skew(counts[i][:]); s > 5 {
			t.Errorf("keys in sixteenth %d of the slots: %.1f standard deviations from even", i, s)
		}
	}
}

func TestPartitionDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { sink = Partition("ATL", 16) }); n != 0 {
		t.Errorf("Partition: %v allocations, want none", n)
	}
}

func BenchmarkPartition(b *testing.B) {
	for _, key := range []string{"ATL", "00000000-0000-4000-8000-000000000042"} {
		b.Run(fmt.Sprintf("bytes=%d", len(key)), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = Partition(key, 16)
			}
		})
	}
}
