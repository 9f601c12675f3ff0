// Service is a small order service around a bus: handlers that start together, probes, signals and
// an orderly end. The README shows it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/shardbus/shardbus/bus"
)

type Order struct{ ID string }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:8080")
	if err == nil {
		err = serve(ctx, l)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func serve(ctx context.Context, l net.Listener) error {
	b, err := bus.New(bus.Config{Hold: true}) // on Redis: Open: func(ctx) { return redis.Open(ctx, …) }
	if err != nil {
		return err
	}
	orders, err := bus.NewTopic(b, bus.TopicConfig[Order]{Name: "orders", Key: func(o Order) string { return o.ID }})
	if err != nil {
		return err
	}
	if _, err := orders.Subscribe(ctx, "ship", ship, bus.Lanes(8), bus.Fatal()); err != nil {
		return err
	}
	server := &http.Server{Handler: routes(b, orders), ReadHeaderTimeout: time.Second}
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() {
		defer stop() // without its server the service ends
		served <- server.Serve(l)
	}()
	err = b.Run(ctx) // until a signal, or a fatal error; what was accepted is handled first
	err = errors.Join(err, server.Close())
	if end := <-served; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	return err
}

func ship(_ context.Context, o Order) error {
	fmt.Println("shipped", o.ID)
	return nil
}

func routes(b *bus.Bus, orders *bus.Topic[Order]) http.Handler {
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, orders.Publish(r.Context(), Order{ID: r.PathValue("id")}))
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { answer(w, b.Health().Ready()) })
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { answer(w, b.Health().Live()) })
	return mux
}
