package faultlab

import (
	"os"
	"path/filepath"
	"testing"
)

func TestEventText(t *testing.T) {
	for _, e := range []Event{{}, {Publisher: 3, Topic: 17, N: 1, Began: 12345}, {Publisher: maxIndex, Topic: maxIndex, N: 1<<32 - 1, Began: 1<<63 - 1}} {
		got, ok := ParseEvent(e.String())
		if e.N == 0 {
			if ok {
				t.Errorf("%q is an event", e.String())
			}
			continue
		}
		if !ok || got != e {
			t.Errorf("%q is read as %+v, %v", e.String(), got, ok)
		}
	}
	for _, text := range []string{"", "e/", "xxxx", "e/1/2/3", "e/1/2/3/4/5", "e/-1/2/3/4", "e/1/70000/3/4", "e/a/2/3/4", "e/1/2/3/"} {
		if e, ok := ParseEvent(text); ok {
			t.Errorf("%q is read as %+v", text, e)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add(Event{Publisher: 1, Topic: 2, N: 3, Began: 4}.String())
	f.Fuzz(func(t *testing.T, text string) {
		if e, ok := ParseEvent(text); ok {
			if again, ok := ParseEvent(e.String()); !ok || again != e {
				t.Errorf("%q is %+v, which is read as %+v", text, e, again)
			}
		}
	})
}

// TestRecords: what is written is read; what was cut off by a kill ends the file.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r")
	l, err := createLog(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []record{
		{Event: Event{Publisher: 1, Topic: 2, N: 3, Began: 4}, outcome: accepted, seq: 5, at: 6},
		{Event: Event{Publisher: maxIndex, Topic: maxIndex, N: 1<<32 - 1, Began: 1 << 62}, outcome: received, seq: 1 << 63, at: -1},
	}
	for _, r := range want {
		l.record(r)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(want[0].append(nil)[:recordSize-1]); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	var got []record
	if err := readRecords(path, func(r record) { got = append(got, r) }); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("read %+v, want %+v", got, want)
	}
}

// FuzzRecord: no bytes make it panic, and what is a record is written as it was read.
func FuzzRecord(f *testing.F) {
	f.Add(record{Event: Event{N: 1}, outcome: accepted}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < recordSize {
			return
		}
		if r, err := parseRecord(b[:recordSize]); err == nil && string(r.append(nil)) != string(b[:recordSize]) {
			t.Errorf("%x is read as %+v", b[:recordSize], r)
		}
	})
}

// TestSlots has the vectors of docs/wire.md.
func TestSlots(t *testing.T) {
	for name, want := range map[string]int{
		"a": 15495, "orders": 105, "123456789": 12739, "flights.departed": 12206, "{orders}x": 105, "{}orders": SlotOf("{}orders"), "x{orders}y{a}": 105,
	} {
		if got := SlotOf(name); got != want {
			t.Errorf("%s: slot %d, want %d", name, got, want)
		}
	}
	if name := SameSlot("m.", "t7"); SlotOf(name) != SlotOf("t7") || name == "t7" {
		t.Errorf("%s has slot %d, want %d", name, SlotOf(name), SlotOf("t7"))
	}
}
