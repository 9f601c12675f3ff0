// Command retry shows what becomes of an event that a handler can't deal with: it is tried again
// later, or it is given up as a dead letter and replayed once the cause is gone.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Payment is the event.
type Payment struct {
	Account string
	Cents   int
}

// Payments is the topic: the payments of one account are made in their order.
var Payments = bus.TopicConfig[Payment]{
	Name: "payments",
	Key:  func(p Payment) string { return p.Account },
}

var (
	errBankBusy  = errors.New("the bank is busy")
	errNoAccount = errors.New("no such account")
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b, err := bus.New(bus.Config{})
	if err != nil {
		return err
	}
	defer b.Close()
	payments, err := bus.NewTopic(b, Payments)
	if err != nil {
		return err
	}

	var opened atomic.Bool // bob's account
	pay := func(_ context.Context, m bus.Message[Payment]) error {
		p := m.Value
		switch {
		case p.Account == "alice" && m.Attempt < 3:
			return bus.RetryAfter(10*time.Millisecond, errBankBusy) // bob need not wait
		case p.Account == "bob" && !opened.Load():
			return bus.DeadLetter(errNoAccount) // it would fail again
		}
		fmt.Printf("%s paid %d at attempt %d\n", p.Account, p.Cents, m.Attempt)
		return nil
	}
	settled := make(chan struct{})
	sub, err := payments.SubscribeMessage(ctx, "bank", pay,
		bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
			fmt.Println("given up:", l.Err)
			close(settled)
		}))
	if err != nil {
		return err
	}
	if err := payments.PublishBatch(ctx, []Payment{{"alice", 500}, {"bob", 700}}); err != nil {
		return err
	}

	<-settled
	opened.Store(true)
	n, err := sub.Replay(ctx, func(l bus.Letter) bool { return errors.Is(l.Err, errNoAccount) })
	if err != nil {
		return err
	}
	fmt.Println("replayed:", n)
	if err := b.Shutdown(ctx); err != nil { // waits for alice's payment too
		return err
	}
	fmt.Printf("%d handled, %d retries, %d dead letters left\n",
		sub.Stats().Handled, sub.Stats().Retried, len(sub.DeadLetters()))
	return nil
}
