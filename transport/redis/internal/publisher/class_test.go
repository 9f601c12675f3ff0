package publisher

import (
	"errors"
	"testing"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// classes is a sender with a dedicated topic, and a channel of each class on one slot.
type classes struct {
	*redirected
	hot connkey.Class
}

func newClasses(t *testing.T) *classes {
	d := newRedirected(t, "a:1", "ra:1")
	d.cfg.Classes = connkey.NewClasses("hot")
	d.cfg.QueueEvents = 2
	d.sender = newSender(&d.cfg, d.top)
	return &classes{redirected: d, hot: d.cfg.Classes.Of("hot")}
}

// push queues an event of a class, and reports whether there was room.
func (c *classes) push(class connkey.Class) (call *publishCall, queued bool) {
	c.t.Helper()
	call = new(callPool).get(make([]transport.Result, 1))
	channel := map[connkey.Class]string{connkey.Ordinary: "c", c.hot: "hot"}[class]
	call.events[0] = pendingEvent{
		env: &transport.Envelope{Topic: channel, Publisher: "0123456789abcdef"}, caller: call,
		route: route{channel: channel, slot: redirectedSlot, class: class}, size: 1,
	}
	_, _, space, err := c.sender.push(call, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return call, space == nil
}

func (c *classes) target(class connkey.Class) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targetLocked(redirectedSlot, class).Addr
}

// TestClassesAreApart: each class has its own bounds and fallbacks, so that what holds up one holds
// up no other.
func TestClassesAreApart(t *testing.T) {
	c := newClasses(t)
	for range 2 {
		if _, queued := c.push(c.hot); !queued {
			t.Fatal("there is no room at first")
		}
	}
	if _, queued := c.push(c.hot); queued {
		t.Fatal("there is room beyond Settings.QueueEvents")
	}
	if _, queued := c.push(connkey.Ordinary); !queued {
		t.Fatal("an ordinary event waits for a dedicated topic")
	}
	c.NodeFailed(connkey.Key{Addr: "a:1", Class: c.hot})
	if hot, other := c.target(c.hot), c.target(connkey.Ordinary); hot != "ra:1" || other != "a:1" {
		t.Errorf("when only the dedicated topic's connection fails, its events go to %s, and others to %s", hot, other)
	}
}

// TestClassesShareRedirects: a MOVED that one class is told is followed by all. The slot's events
// go on its new node at once.
func TestClassesShareRedirects(t *testing.T) {
	c := newClasses(t)
	for _, class := range []connkey.Class{connkey.Ordinary, c.hot} {
		c.push(class)
	}
	b := new(batch)
	l := c.nodeQueue(connkey.Key{Addr: "a:1", Class: c.hot})
	if c.sender.take(l, b); len(b.events) != 1 {
		t.Fatalf("%d events are taken, want that of the class", len(b.events))
	}
	c.applyOutcomes(l, b, []outcome{{retry: true, moved: true, to: "b:1"}}, errors.New("MOVED"))
	for _, class := range []connkey.Class{connkey.Ordinary, c.hot} {
		if addr := c.target(class); addr != "b:1" {
			t.Errorf("events of class %d go to %s", class, addr)
		}
		if c.sender.take(c.nodeQueue(connkey.Key{Addr: "b:1", Class: class}), b); len(b.events) != 1 {
			t.Errorf("%d events of class %d are to be written at the new node", len(b.events), class)
		}
	}
}
