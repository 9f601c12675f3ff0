package redis

import "testing"

func TestInboxIsBounded(t *testing.T) {
	b := newInbox(3000)
	for range 100 {
		b.put(happening{kind: gotMessage, channel: "c", message: `{"specversion":"1.0","id":"1","source":"p","type":"t","sequence":"00000000000000000001"}`})
		b.put(happening{kind: gotMessage, channel: "c", message: `plain`})
	}
	b.put(happening{kind: gotUnsubscribed, channel: "c"})
	queue, held, dropped := b.swap(nil)
	if last := queue[len(queue)-1]; last.kind != gotUnsubscribed {
		t.Error("what became of a subscription was dropped")
	}
	if held > 3000+2*happeningOverhead || held < 2700 {
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
