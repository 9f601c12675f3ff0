package wire

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestParseTime: whatever an envelope can have for a time is read as time.Parse does.
func TestParseTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(firstTime, lastTime).Draw(t, "s"), rapid.Int64Range(0, 999999999).Draw(t, "ns"))
		offset := rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "minutes")
		zoned := at.In(time.FixedZone("", offset*60))
		if y := zoned.Year(); y < 0 || y > 9999 {
			return
		}
		text := zoned.Format(time.RFC3339Nano)
		if got, ok := parseTime(text); !ok || !got.Equal(at) {
			t.Fatalf("%s: %v, %v, want %v", text, got, ok, at)
		}
	})
}

// FuzzParseTime: what is read is what time.Parse reads, or one of the two forms that it does not know, and lies in the years
// that an envelope can have.
func FuzzParseTime(f *testing.F) {
	for _, text := range []string{
		"2026-03-01T12:00:00Z", "2016-12-31T23:59:60.5+05:30", "9999-12-31T23:59:59-01:00", "2026-03-01t12:00:00z", "0000-02-29T00:00:00Z",
		"2026-02-29T00:00:00Z", "2026-03-01T12:00:00+24:00", "2026-03-01T12:00:00.Z", "2026-03-01T12:00:00,1Z",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := parseTime(text)
		if !ok {
			return
		}
		if y := got.Year(); y < 1 || y > 9999 {
			t.Fatalf("%q is of the year %d", text, y)
		}
		plain := []byte(text)
		plain[10] = 'T'
		if last := len(plain) - 1; plain[last] == 'z' {
			plain[last] = 'Z'
		}
		leap := time.Duration(0)
		if text[17:19] == "60" {
			leap = time.Second
			copy(plain[17:], "59")
		}
		if want, err := time.Parse(time.RFC3339Nano, string(plain)); err != nil || !got.Equal(want.Add(leap)) {
			t.Fatalf("%q is %v, and time.Parse has %v, %v", text, got, want, err)
		}
	})
}
