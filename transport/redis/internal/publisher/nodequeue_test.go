package publisher

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
)

// TestNodeQueueStaysWithItsWriter: a primary that is none for a moment, as when nodes disagree
// about its name, has the node queue that its writer serves all the time. With another one its
// events would wait for ever.
func TestNodeQueueStaysWithItsWriter(t *testing.T) {
	cfg := testSettings()
	owned := func(addr string) *router.Snapshot { return oneShard(t, addr) }
	top := newFakeCluster(owned("a:1"))
	o := newSender(&cfg, top)
	served, detach := o.attach(at("a:1"))
	for _, addr := range []string{"b:1", "a:1"} {
		top.snapshot.Store(owned(addr))
		o.applyTopology()
	}
	if again := o.nodeQueue(at("a:1")); again != served {
		t.Error("the node queue is another one")
	}
	detach()
	top.snapshot.Store(owned("b:1"))
	o.applyTopology()
	if again := o.nodeQueue(at("a:1")); again == served {
		t.Error("the node queue was kept when nobody needed it")
	}
}

// TestUntilWatermarkIsNeverOver: a timer is never started with nothing left, however late the
// watermark is.
func TestUntilWatermarkIsNeverOver(t *testing.T) {
	for _, at := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now(), time.Now().Add(time.Hour)} {
		if d := new(sender).untilWatermark(&nodeQueue{watermarkAt: at}); d <= 0 {
			t.Errorf("%v until %v", d, at)
		}
	}
}
