package redis

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
)

// TestLaneStaysWithItsWriter: a primary that is none for a moment, as when nodes disagree about its name, has the lane
// that its writer serves all the time. With another one its events would wait for ever.
func TestLaneStaysWithItsWriter(t *testing.T) {
	cfg, err := Config{Addrs: []string{"h"}}.resolved()
	if err != nil {
		t.Fatal(err)
	}
	owned := func(addr string) *router.Snapshot {
		s, err := cluster.StandaloneSnapshot(addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	top := cluster.NewTopology(cfg.topology, cluster.Discovery{Snapshot: owned("a:1")}, nil)
	o := newSender(&cfg, top)
	served, detach := o.attach("a:1")
	for _, addr := range []string{"b:1", "a:1"} {
		top.SetSnapshot(owned(addr))
		o.applyTopology()
	}
	if again := o.nodeQueue("a:1"); again != served {
		t.Error("the lane is another one")
	}
	detach()
	top.SetSnapshot(owned("b:1"))
	o.applyTopology()
	if again := o.nodeQueue("a:1"); again == served {
		t.Error("the lane was kept when nobody needed it")
	}
}

// TestUntilMarkIsNeverOver: a timer is never started with nothing left, however late the watermark is.
func TestUntilMarkIsNeverOver(t *testing.T) {
	for _, at := range []time.Time{{}, time.Now().Add(-time.Hour), time.Now(), time.Now().Add(time.Hour)} {
		if d := new(sender).untilWatermark(&nodeQueue{watermarkAt: at}); d <= 0 {
			t.Errorf("%v until %v", d, at)
		}
	}
}
