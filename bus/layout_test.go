package bus

import (
	"testing"
	"unsafe"
)

// What an event touches stands on as few cache lines as it may: see lane, intake.
func TestLayout(t *testing.T) {
	type event [4]uint64
	var l lane[event]
	var topic Topic[event]
	line := func(offset uintptr) uintptr { return offset / cacheLine }
	for _, c := range []struct {
		what        string
		first, last uintptr // offsets
	}{
		{"what publishers read of a lane", unsafe.Offsetof(l.state), unsafe.Offsetof(l.wait) + unsafe.Offsetof(l.wait.wakeAt)},
		{"what Publish touches of a topic", 0, unsafe.Offsetof(topic.intake) + unsafe.Offsetof(topic.intake.mu) + unsafe.Offsetof(topic.intake.mu.seq)},
	} {
		if line(c.first) != line(c.last) {
			t.Errorf("%s goes from %d to %d: it should stand on one line", c.what, c.first, c.last)
		}
	}
	own := unsafe.Offsetof(l.reader)
	if end := unsafe.Offsetof(l.mu) + unsafe.Offsetof(l.mu.parking) + 8; own%cacheLine != 0 || end-own > 4*cacheLine {
		t.Errorf("what the goroutine touches goes from %d to %d: it should begin a line and take four", own, end)
	}
	for what, size := range map[string]uintptr{"a lane": unsafe.Sizeof(l), "a topic": unsafe.Sizeof(topic)} {
		t.Logf("%s takes %d bytes", what, size)
	}
}
