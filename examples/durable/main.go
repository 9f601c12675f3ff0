// Durable handles orders that survive it: what it had not handled when it was killed, it handles when
// it is started again. docs/durable.md shows it.
//
//	go build -o /tmp/durable ./examples/durable && cd /tmp
//	./durable o-1 o-2 o-3 & sleep 3; kill -9 $!
//	./durable
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/file"
)

type Order struct{ ID string }

var Orders = bus.TopicConfig[Order]{
	Name:  "orders",
	Class: bus.Durable,
	Key:   func(o Order) string { return o.ID }, // events of one key keep their order
}

var work = 2 * time.Second // time enough to kill it

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "orders.db", os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, path string, ids []string) (err error) {
	events, err := file.Open(path, file.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.Close()) }() // after the bus
	b, err := bus.New(bus.Config{Log: events})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Shutdown(context.WithoutCancel(ctx))) }()
	orders, err := bus.NewTopic(b, Orders)
	if err != nil {
		return err
	}
	if _, err := orders.SubscribeMessage(ctx, "ship", ship, bus.From(bus.Earliest())); err != nil {
		return err
	}
	for _, id := range ids {
		if err := orders.Publish(ctx, Order{ID: id}); err != nil {
			return err
		}
		fmt.Println("kept", id) // the file has it, whatever happens now
	}
	<-ctx.Done() // until Ctrl-C
	return nil
}

func ship(_ context.Context, m bus.Message[Order]) error {
	fmt.Println("shipping", m.Value.ID, "redelivered:", m.Redelivered)
	time.Sleep(work)
	fmt.Println("shipped", m.Value.ID)
	return nil // acknowledged: it does not come again
}
