package router

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
)

// TestTagIsFrozen pins the tags. They are on the wire: if this fails, the code is wrong, never the
// test.
func TestTagIsFrozen(t *testing.T) {
	for slot, want := range map[int]string{
		0: "1bz", 1: "emj", 2: "7lw", 100: "0or", 3300: "b", 4095: "7ym", 5460: "g1m", 5461: "3zu",
		8191: "7ho", 8192: "fjl", 10922: "bxv", 10923: "63n", 12182: "foo", 12345: "0qs", 13907: "0",
		2272: "00bb", 10278: "00bd", 14343: "00be", 16382: "4oi", 16383: "hia",
	} {
		if got := Tag(slot); got != want {
			t.Errorf("Tag(%d) = %q, want %q", slot, got, want)
		}
	}
	// All of them, slot by slot, a line each; computed with another implementation.
	h := sha256.New()
	for slot := range Slots {
		h.Write([]byte(Tag(slot) + "\n"))
	}
	const want = "07c98064fa6df084a4c6a93b57e731c7af34debbd1a8ba4f9cfef1fc7b25511f"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Errorf("SHA-256 of all tags = %s, want %s", got, want)
	}
}

// TestTagIsTotal shows that each slot has a tag of 1 to 4 characters that hashes to it.
func TestTagIsTotal(t *testing.T) {
	for slot := range Slots {
		tag := Tag(slot)
		if len(tag) < 1 || len(tag) > maxTag || strings.Trim(tag, tagAlphabet) != "" {
			t.Fatalf("Tag(%d) = %q: want 1 to %d characters of [0-9a-z]", slot, tag, maxTag)
		}
		if got := Slot(tag); got != slot {
			t.Fatalf("Slot(Tag(%d)) = Slot(%q) = %d", slot, tag, got)
		}
		if got := Slot("{" + tag + "}:topic:p0"); got != slot {
			t.Fatalf("Slot of a channel with Tag(%d) = %q: %d", slot, tag, got)
		}
	}
}

// TestTagIsTheFirst shows the rule on all words of up to 3 characters: none is shorter, or of the
// same length and earlier, than the tag of its slot.
func TestTagIsTheFirst(t *testing.T) {
	words := []string{""}
	for range 3 {
		var longer []string
		for _, w := range words {
			for _, c := range tagAlphabet {
				longer = append(longer, w+string(c))
			}
		}
		words = longer
		for _, w := range words {
			tag := Tag(Slot(w))
			if len(w) < len(tag) || len(w) == len(tag) && w < tag {
				t.Fatalf("Tag(%d) = %q, but %q comes before it", Slot(w), tag, w)
			}
		}
	}
}

func TestTagOfNoSlot(t *testing.T) {
	for _, slot := range []int{-1, Slots, Slots + 1, -Slots, 1 << 30} {
		if got := Tag(slot); got != "" {
			t.Errorf("Tag(%d) = %q, want none", slot, got)
		}
	}
}

func TestTagConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := Tag(3300); got != "b" {
				t.Errorf("Tag(3300) = %q", got)
			}
		})
	}
	wg.Wait()
}
