package connkey_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// TestClasses: each dedicated topic has a class, with all channels of its partitions; all others
// share one.
func TestClasses(t *testing.T) {
	var none connkey.Classes
	if all := slices.Collect(none.All()); !slices.Equal(all, []connkey.Class{connkey.Ordinary}) || none.Len() != 1 {
		t.Errorf("without dedicated topics there are %v", all)
	}
	if none.Of("hot") != connkey.Ordinary || none.OfChannel("hot") != connkey.Ordinary {
		t.Error("a topic is dedicated that nobody named")
	}
	c := connkey.NewClasses("warm", "hot")
	if all := slices.Collect(c.All()); len(all) != 3 || c.Len() != 3 || all[0] != connkey.Ordinary {
		t.Errorf("two dedicated topics have the classes %v", all)
	}
	seen := map[connkey.Class]bool{c.Of("cold"): true}
	if c.Of("cold") != connkey.Ordinary || c.Topic(connkey.Ordinary) != "" {
		t.Error("a topic that is not dedicated is not ordinary")
	}
	for _, topic := range []string{"hot", "warm"} {
		class := c.Of(topic)
		if seen[class] || c.Topic(class) != topic {
			t.Errorf("%s has the class %d, of %q", topic, class, c.Topic(class))
		}
		seen[class] = true
		for _, partitions := range []int{0, 3} {
			placement := router.Placement{Topic: topic, Partitions: partitions}
			for i := range placement.Len() {
				if got := c.OfChannel(placement.Channel(i)); got != class {
					t.Errorf("%s has the class %d, want %d", placement.Channel(i), got, class)
				}
			}
		}
	}
}
