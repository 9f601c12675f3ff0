package router

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slotVectors are names and what CLUSTER KEYSLOT of a real server said of them.
var slotVectors = []struct {
	name string
	tag  string // the part that is hashed
	slot int
}{
	{"", "", 0},
	{"a", "a", 15495},
	{"123456789", "123456789", 12739},
	{"flights.departed", "flights.departed", 12206},
	{"a{b}c", "b", 3300},

	// The examples of the Redis Cluster specification.
	{"{user1000}.following", "user1000", 3443},
	{"{user1000}.followers", "user1000", 3443},
	{"foo{}{bar}", "foo{}{bar}", 8363},
	{"foo{{bar}}zap", "{bar", 4015},
	{"foo{bar}{zap}", "bar", 5061},

	// Braces that make no tag.
	{"foo{", "foo{", 7673},
	{"foo}{x", "foo}{x", 4741},
	{"{a", "{a", 10276},
	{"{}", "{}", 15257},
	// A '}' before the first '{' is nothing special.
	{"}{a}", "a", 15495},
}

func TestSlotVectors(t *testing.T) {
	for _, v := range slotVectors {
		if got := hashTag(v.name); got != v.tag {
			t.Errorf("hashTag(%q) = %q, want %q", v.name, got, v.tag)
		}
		if got := Slot(v.name); got != v.slot {
			t.Errorf("Slot(%q) = %d, want %d", v.name, got, v.slot)
		}
	}
}

// slotByTheBook follows keyHashSlot of the Redis Cluster specification, byte by byte.
func slotByTheBook(name string) int {
	s := 0
	for s < len(name) && name[s] != '{' {
		s++
	}
	if s == len(name) {
		return int(crc16Bitwise(name) & 16383)
	}
	e := s + 1
	for e < len(name) && name[e] != '}' {
		e++
	}
	if e == len(name) || e == s+1 {
		return int(crc16Bitwise(name) & 16383)
	}
	return int(crc16Bitwise(name[s+1:e]) & 16383)
}

func TestSlotIsByTheBook(t *testing.T) {
	// Few letters, so that braces meet often.
	names := rapid.StringOfN(rapid.RuneFrom([]rune("ab{}")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		name := names.Draw(t, "name")
		if got, want := Slot(name), slotByTheBook(name); got != want {
			t.Fatalf("Slot(%q) = %d, want %d", name, got, want)
		}
	})
}

func FuzzSlot(f *testing.F) {
	for _, v := range slotVectors {
		f.Add(v.name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := Slot(name)
		if got < 0 || got >= Slots {
			t.Fatalf("Slot(%q) = %d is no slot", name, got)
		}
		if want := slotByTheBook(name); got != want {
			t.Fatalf("Slot(%q) = %d, want %d", name, got, want)
		}
		// Whatever is hashed decides alone: what follows its closing brace does not matter.
		if tag := hashTag(name); tag != "" && !strings.Contains(tag, "}") {
			if tagged := Slot("{" + tag + "}" + name); tagged != got {
				t.Fatalf("Slot(%q) = %d, but in braces it is %d", name, got, tagged)
			}
		}
	})
}

func TestSlotDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { sink = Slot("{595}:flights.departed:p0") }); n != 0 {
		t.Errorf("Slot: %v allocations, want none", n)
	}
}

// sink keeps what is measured from being optimised away.
var sink int

func BenchmarkSlot(b *testing.B) {
	for _, bench := range []struct{ label, name string }{
		{"tagged", "{595}:flights.departed:p0"},
		{"plain", "flights.departed"},
	} {
		b.Run(bench.label, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sink = Slot(bench.name)
			}
		})
	}
}
