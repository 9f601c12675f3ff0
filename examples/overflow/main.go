// Command overflow shows what a full mailbox does: a display that only wants the latest prices
// gives up old ones, a book-keeper that wants them all slows the publisher down. Neither is in the
// other's way, and the ledger counts every event.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/shardbus/shardbus/bus"
)

// Prices is the topic: prices in cents.
var Prices = bus.TopicConfig[int]{Name: "prices"}

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
	prices, err := bus.NewTopic(b, Prices)
	if err != nil {
		return err
	}

	display, err := prices.Subscribe(ctx, "display", func(_ context.Context, cents int) error {
		fmt.Println("display:", cents)
		return nil
	}, bus.Mailbox(3, bus.DropOldest))
	if err != nil {
		return err
	}
	total := 0 // one lane: no lock
	books, err := prices.Subscribe(ctx, "books", func(_ context.Context, cents int) error {
		total += cents
		return nil
	}, bus.Mailbox(3, bus.Block))
	if err != nil {
		return err
	}

	display.Pause() // nobody looks
	for cents := 1; cents <= 100; cents++ {
		if err := prices.Publish(ctx, cents); err != nil {
			return err
		}
	}
	if err := b.Shutdown(ctx); err != nil { // lifts the pause
		return err
	}
	fmt.Println("total:", total)
	for _, s := range []*bus.Subscription{display, books} {
		st := s.Stats()
		fmt.Printf("%s: %d accepted, %d handled, %d dropped\n", s.Name(), st.Accepted, st.Handled, st.Dropped)
	}
	return nil
}
