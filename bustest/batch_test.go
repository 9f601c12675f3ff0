package bustest_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// Events of a subscription by batches are found one by one, like others.
func TestBatchSubscriptions(t *testing.T) {
	b := bustest.New(t)
	must[*bus.Subscription](t)(topicOf(t, b, orders).SubscribeBatch(t.Context(), "books",
		func(_ context.Context, all []bus.Message[order]) error { return nil }))
	publish(t, b, "1", "2", "3", "4")
	bustest.WaitIdle(t, b)
	if got := bustest.Handled(t, b, orders, "books"); ids(got) != "1 2 3 4" {
		t.Errorf("%q", ids(got))
	}
}
