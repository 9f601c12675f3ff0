package bustest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest"
)

// What makes no sense fails the test with what is wrong, and is not ignored.
func TestMisuse(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(t testing.TB)
		want string
	}{
		{"no bus to share with", func(t testing.TB) { bustest.New(t, bustest.SharedWith(nil)) }, "bustest: SharedWith was given a nil bus"},
		{"no waitTimeout", func(t testing.TB) { bustest.New(t, bustest.WaitTimeout(-time.Second)) }, "bustest: a WaitTimeout of -1s is negative"},
		{"a failure without an error", func(t testing.TB) { bustest.New(t).FailPublish("orders", 1, nil) }, "needs an error, and it is nil"},
		{"a lost reply without an error", func(t testing.TB) { bustest.New(t).LoseReply("orders", 1, nil) }, "needs an error, and it is nil"},
		{"a fault of nothing", func(t testing.TB) { bustest.New(t).DropNext("orders", 0) }, "a fault for 0 events does nothing"},
		{"a delay into the past", func(t testing.TB) { bustest.New(t).Delay("orders", 1, -time.Second) }, "a Delay of -1s is in the past"},
		{"no envelope", func(t testing.TB) { bustest.New(t).Inject(nil) }, "Inject was given a nil envelope"},
		{"severed from itself", func(t testing.TB) { b := bustest.New(t); bustest.Sever(b, b) }, "Sever needs two buses"},
		{"no subscription", func(t testing.TB) { bustest.WaitHandled(t, nil, 1) }, "WaitHandled was given a nil subscription"},
		{"no handler", func(t testing.TB) { bustest.Call(t, nil, order{}) }, "handler is nil"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := failure(t, tc.do); !strings.Contains(got, tc.want) {
				t.Errorf("%q says nothing of %q", got, tc.want)
			}
		})
	}
}

// The zero Match holds for everything.
func TestZeroMatch(t *testing.T) {
	b := bustest.New(t)
	publish(t, b, "a", "b")
	if n := len(bustest.Published(t, b, orders, bustest.Match[order]{}, bustest.Key[order]("a"))); n != 1 {
		t.Errorf("%d published", n)
	}
}
