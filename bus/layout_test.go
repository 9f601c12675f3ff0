package bus

import (
	"testing"
	"unsafe"
)

// Where the allocator puts them, their addresses decide what shares a cache line.
var (
	placedLane  *lane[[4]uint64]
	placedTopic *Topic[[4]uint64]
)

// What an event touches stands on as few cache lines as it may: see lane, fanout.
// Several are looked at, since where one is may be right by chance.
func TestLayout(t *testing.T) {
	for range 16 {
		layout(t)
	}
	t.Logf("a lane takes %d bytes, a topic %d", unsafe.Sizeof(*placedLane), unsafe.Sizeof(*placedTopic))
}

func layout(t *testing.T) {
	placedLane, placedTopic = new(lane[[4]uint64]), new(Topic[[4]uint64])
	l, topic := placedLane, placedTopic
	line := func(p unsafe.Pointer) uintptr { return uintptr(p) / cacheLine }
	for _, c := range []struct {
		what        string
		first, last unsafe.Pointer
	}{
		{"what publishers read of a lane", unsafe.Pointer(&l.state), unsafe.Pointer(&l.wait.wakeAt)},
		{"what Publish touches of a topic", unsafe.Pointer(topic), unsafe.Pointer(&topic.fanout.mu.sole)},
	} {
		if line(c.first) != line(c.last) {
			t.Errorf("%s goes from %p to %p: it should stand on one line", c.what, c.first, c.last)
		}
	}
	own, end := uintptr(unsafe.Pointer(&l.box.Reader)), uintptr(unsafe.Pointer(&l.mu.retries))+8
	if own%cacheLine != 0 || end-own > 4*cacheLine {
		t.Errorf("what the goroutine touches goes from %#x to %#x: it should begin a line and take four", own, end)
	}
}
