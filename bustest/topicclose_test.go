package bustest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest"
	"github.com/shardbus/shardbus/transport"
)

// A topic that a bus closes and makes again is cut off with that bus, and what a fault held back of the one before arrives.
func TestTopicIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := bustest.New(t)
		b := bustest.New(t, bustest.SharedWith(a))
		sub := listen(t, b)
		anew := func() {
			t.Helper()
			if err := topicOf(t, a, orders).Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		publish(t, a, "1")
		anew()
		publish(t, a, "2")
		bustest.Sever(a, b)
		publish(t, a, "3")
		anew()
		publish(t, a, "4")
		bustest.Heal(a, b)
		publish(t, a, "5")
		requireHeard(t, b, "1 2 5")
		gaps := sub.Gaps()
		if len(gaps) != 2 || gaps[0].Publisher != a.ID()+".1" || gaps[1].Publisher != a.ID()+".2" || gaps[0].Reason != transport.Disconnected {
			t.Errorf("%+v", gaps)
		}
		a.Delay("orders", 1, time.Minute)
		publish(t, a, "6")
		anew()
		publish(t, a, "7")
		time.Sleep(2 * time.Minute)
		publish(t, a, "8")
		requireHeard(t, b, "1 2 5 7 6 8")
		if n := len(sub.Gaps()); n != 2 {
			t.Error(sub.Gaps())
		}
	})
}
