package router

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPlacementIsFrozen pins where partitions lie and how they are spelled. It is on the wire: if
// this fails, the code is wrong, never the test.
func TestPlacementIsFrozen(t *testing.T) {
	for _, v := range []struct {
		p       Placement
		i, slot int
		channel string
		stream  string
	}{
		{Placement{"flights.departed", "", 0}, 0, 12206, "flights.departed", "{flights.departed}:log"},
		{Placement{"flights.departed", "", 1}, 0, 4014, "{3bt}:flights.departed:p0", "{3bt}:flights.departed:p0:log"},
		{Placement{"flights.departed", "", 4}, 0, 14254, "{595}:flights.departed:p0", "{595}:flights.departed:p0:log"},
		{Placement{"flights.departed", "", 4}, 1, 1966, "{7ny}:flights.departed:p1", "{7ny}:flights.departed:p1:log"},
		{Placement{"flights.departed", "", 4}, 2, 6062, "{s33}:flights.departed:p2", "{s33}:flights.departed:p2:log"},
		{Placement{"flights.departed", "", 4}, 3, 10158, "{how}:flights.departed:p3", "{how}:flights.departed:p3:log"},
		{Placement{"orders", "shop", 3}, 0, 6538, "{7dv}:orders:p0", "{7dv}:orders:p0:log"},
		{Placement{"orders", "shop", 3}, 1, 12000, "{73t}:orders:p1", "{73t}:orders:p1:log"},
		{Placement{"orders", "shop", 3}, 2, 1077, "{i7k}:orders:p2", "{i7k}:orders:p2:log"},
		{Placement{"invoices", "shop", 3}, 2, 1077, "{i7k}:invoices:p2", "{i7k}:invoices:p2:log"},
	} {
		if got := v.p.Slot(v.i); got != v.slot {
			t.Errorf("%+v.Slot(%d) = %d, want %d", v.p, v.i, got, v.slot)
		}
		if got := v.p.Channel(v.i); got != v.channel {
			t.Errorf("%+v.Channel(%d) = %q, want %q", v.p, v.i, got, v.channel)
		}
		if got := v.p.Stream(v.i); got != v.stream {
			t.Errorf("%+v.Stream(%d) = %q, want %q", v.p, v.i, got, v.stream)
		}
		if got, want := v.p.Meta(v.i), strings.TrimSuffix(v.stream, "log")+"meta"; got != want {
			t.Errorf("%+v.Meta(%d) = %q, want %q", v.p, v.i, got, want)
		}
	}
}

func TestPlacementValidate(t *testing.T) {
	for _, p := range []Placement{{"a", "", 0}, {"a", "", 1}, {"a", "g", 1}, {"a", "", MaxPartitions}} {
		if got, err := NewPlacement(p.Topic, p.Group, p.Partitions); err != nil || got != p {
			t.Errorf("NewPlacement of %+v = %+v, %v", p, got, err)
		}
	}
	for _, c := range []struct {
		p    Placement
		says string
		name bool // a name is at fault
	}{
		{Placement{"", "", 0}, "topic", true},
		{Placement{"a{", "", 0}, "position 1", true},
		{Placement{"a", "g}", 2}, "group", true},
		{Placement{"a", "", -1}, "-1 partitions", false},
		{Placement{"a", "", MaxPartitions + 1}, "4097 partitions", false},
		{Placement{"a", "g", 0}, "needs partitions", false},
	} {
		_, err := NewPlacement(c.p.Topic, c.p.Group, c.p.Partitions)
		if !errors.Is(err, ErrInvalidPlacement) || errors.Is(err, ErrInvalidName) != c.name ||
			!strings.Contains(err.Error(), c.says) {
			t.Errorf("NewPlacement of %+v: %v, want an ErrInvalidPlacement that says %q", c.p, err, c.says)
		}
	}
}

// TestPlacementIsTotal: no such partition, and placements that are not valid, are answered, not
// punished.
func TestPlacementIsTotal(t *testing.T) {
	p := Placement{Topic: "orders", Partitions: 3}
	for _, i := range []int{-1, 3, math.MaxInt, math.MinInt} {
		if p.Slot(i) != -1 || p.Channel(i) != "" || p.Stream(i) != "" || p.Key(i, "x") != "" {
			t.Errorf("partition %d of 3 has a place", i)
		}
	}
	for _, p := range []Placement{{}, {Partitions: -5}, {Partitions: math.MaxInt}, {Partitions: math.MinInt}} {
		p.Slot(0)
		p.Channel(p.Len() - 1)
		p.Stream(1)
		_ = p.Partition("key")
	}
}

func anyPlacement() *rapid.Generator[Placement] {
	return rapid.Custom(func(t *rapid.T) Placement {
		p := Placement{Topic: anyName().Draw(t, "topic")}
		p.Partitions = rapid.OneOf(rapid.IntRange(0, 8), rapid.IntRange(0, MaxPartitions)).Draw(t, "partitions")
		if p.Partitions > 0 && rapid.Bool().Draw(t, "grouped") {
			p.Group = anyName().Draw(t, "group")
		}
		return p
	})
}

// TestPlacementSharesASlot: channel, stream, meta and any key of a partition lie on its slot, and
// the partitions of a topic on distinct ones.
func TestPlacementSharesASlot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlacement().Draw(t, "p")
		seen := make(map[int]bool)
		for i := range p.Len() {
			slot := p.Slot(i)
			if seen[slot] {
				t.Fatalf("slot %d has two partitions", slot)
			}
			seen[slot] = true
			for _, name := range []string{p.Channel(i), p.Stream(i), p.Meta(i), p.Key(i, "g=a:{b}")} {
				if Slot(name) != slot {
					t.Fatalf("%q lies on slot %d, its partition on %d", name, Slot(name), slot)
				}
			}
		}
		if other := (Placement{Topic: "other", Group: p.Group, Partitions: p.Partitions}); p.Group != "" {
			if i := p.Len() - 1; other.Slot(i) != p.Slot(i) {
				t.Fatalf("topics of one group lie on slots %d and %d", p.Slot(i), other.Slot(i))
			}
		}
		if i := p.Partition("key"); p.Slot(i) < 0 {
			t.Fatalf("the key's partition %d has no slot", i)
		}
	})
}

// TestPlacementSpellingIsUnique: two placements share a channel or a key only where topic,
// partition and suffix agree, and topics that are not partitioned share nothing with those that
// are.
func TestPlacementSpellingIsUnique(t *testing.T) {
	type meaning struct {
		topic, suffix string
		partition     int
		partitioned   bool
	}
	suffixes := rapid.OneOf(rapid.SampledFrom([]string{"log", "meta", "p0:log", "%3A", ":", ""}), anyKey())
	rapid.Check(t, func(t *rapid.T) {
		var spelled [2]string
		var means [2]meaning
		for n := range spelled {
			p := anyPlacement().Draw(t, "p")
			if n == 1 && rapid.Bool().Draw(t, "nasty") {
				// A topic named like the tag of the other's partition: the nearest a name can come
				// to another's key.
				first := spelled[0]
				p = Placement{Topic: hashTag(first)}
				if !validName(p.Topic) {
					t.Skip("no tag")
				}
			}
			i := rapid.IntRange(0, p.Len()-1).Draw(t, "i")
			m := meaning{topic: p.Topic, partition: i, partitioned: p.Partitions > 0}
			if rapid.Bool().Draw(t, "key") {
				m.suffix = suffixes.Draw(t, "suffix")
				spelled[n] = p.Key(i, m.suffix)
				m.suffix = "key " + m.suffix
			} else {
				spelled[n] = p.Channel(i)
			}
			means[n] = m
		}
		if spelled[0] == spelled[1] && means[0] != means[1] {
			t.Fatalf("%q means %+v and %+v", spelled[0], means[0], means[1])
		}
	})
}

// equalShards deals the slots out to k shards as redis-cli --cluster create does: contiguous,
// rounded.
func equalShards(k int) []SlotRange {
	ranges := make([]SlotRange, k)
	for j := range ranges {
		ranges[j] = SlotRange{From: (j*Slots + k/2) / k, To: ((j+1)*Slots+k/2)/k - 1}
	}
	return ranges
}

func TestPlacementIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlacement().Filter(func(p Placement) bool { return p.Partitions > 0 }).Draw(t, "p")
		k := rapid.OneOf(rapid.IntRange(1, 12), rapid.IntRange(1, 1000)).Draw(t, "shards")
		shards := equalShards(k)
		n := float64(p.Partitions)
		even := n / float64(k)
		slots := make([]int, p.Partitions)
		for i := range slots {
			slots[i] = p.Slot(i)
		}
		slices.Sort(slots)
		for _, shard := range shards {
			from, _ := slices.BinarySearch(slots, shard.From)
			to, _ := slices.BinarySearch(slots, shard.To+1)
			count := float64(to - from)
			if arc := float64(shard.Len()) * n / Slots; count != math.Floor(arc) && count != math.Ceil(arc) {
				t.Fatalf("slots %v hold %v of %v partitions, want %v rounded down or up", shard, count, n, arc)
			}
			if math.Abs(count-even) >= 1+n/Slots {
				t.Fatalf("slots %v hold %v of %v partitions, %v is even", shard, count, n, even)
			}
			if Slots%k == 0 && count != math.Floor(even) && count != math.Ceil(even) {
				t.Fatalf("slots %v, one of %d equal shards, hold %v of %v partitions", shard, k, count, n)
			}
		}
	})
}
