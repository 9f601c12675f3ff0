package subscriber

import (
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
)

// subscribeCall is one Subscribe, which waits for channels: each until it is confirmed and, with Repair, until publishers
// have said where they stand. Thousands do at once, so each is woken once, for all that it waits for.
type subscribeCall struct {
	reconcile.Call
	view transport.Topic // as the caller knows it
	next *subscribeCall  // of subscriptions.subscribeQueue
}

func newSubscribeCall(placement router.Placement) *subscribeCall {
	a := new(subscribeCall)
	a.Init(placement)
	return a
}
