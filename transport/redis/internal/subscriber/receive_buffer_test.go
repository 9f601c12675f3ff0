package subscriber

import (
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

func TestReceiveBufferIsBounded(t *testing.T) {
	b := newReceiveBuffer(3000)
	for range 100 {
		b.put(pushEvent{kind: pushMessage, channel: "c", message: `{"specversion":"1.0","id":"1","source":"p","type":"t","sequence":"00000000000000000001"}`})
		b.put(pushEvent{kind: pushMessage, channel: "c", message: `plain`})
	}
	b.put(pushEvent{kind: pushUnsubscribed, channel: "c"})
	queue, held, dropped := b.swap(nil)
	if last := queue[len(queue)-1]; last.kind != pushUnsubscribed {
		t.Error("what became of a subscription was dropped")
	}
	if held > 3000+2*pushOverhead || held < 2700 {
		t.Errorf("%d bytes are held", held)
	}
	d := dropped["c"]
	if got := len(queue) - 1 + int(d.numbered+d.unnumbered); got != 200 || len(queue) > 40 || d.numbered == 0 || d.unnumbered == 0 {
		t.Errorf("%d queued, %+v dropped", len(queue), d)
	}
	if queue, held, dropped = b.swap(queue); len(queue) != 0 || held != 0 || dropped != nil {
		t.Errorf("%v, %v", queue, dropped)
	}
}

// TestDropsAreReadOutsideTheLock: whether a message that finds no room has a number is found out while others may use the
// inbox. If they make room meanwhile, the message is not dropped.
func TestDropsAreReadOutsideTheLock(t *testing.T) {
	b := newReceiveBuffer(1000)
	message := func(text string) pushEvent { return pushEvent{kind: pushMessage, channel: "c", message: text} }
	full := message(string(make([]byte, 900)))
	b.put(full)
	b.sequenced = func(text string) bool {
		if !b.mu.TryLock() {
			t.Fatal("the inbox is locked")
		}
		b.mu.Unlock()
		return wire.Sequenced(text)
	}
	b.put(full)
	if _, _, dropped := b.swap(nil); dropped["c"].unnumbered != 1 {
		t.Errorf("dropped %+v", dropped)
	}
	b.handled()
	b.put(full)
	b.sequenced = func(string) bool {
		b.swap(nil)
		b.handled()
		return true
	}
	b.put(message("late"))
	if queue, _, dropped := b.swap(nil); len(queue) != 1 || queue[0].message != "late" || dropped != nil {
		t.Errorf("%v, dropped %v", queue, dropped)
	}
}
