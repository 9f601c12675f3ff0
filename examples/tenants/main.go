// Command tenants shows a middleware: it reads the headers of an event, hands what it found to the
// handler by the context, and gives up events that lack it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shardbus/shardbus/bus"
)

// Signup is the event.
type Signup struct{ User string }

// Signups is the topic.
var Signups = bus.TopicConfig[Signup]{Name: "users.signed-up"}

// errNoTenant: an event does not say for whom it is.
var errNoTenant = errors.New("no tenant")

type tenantKey struct{}

// requireTenant gives the handler's context the tenant that the event names.
func requireTenant(next bus.Handler) bus.Handler {
	return func(ctx context.Context, d *bus.Delivery) error {
		tenant := d.Headers().Get("tenant")
		if tenant == "" {
			return bus.DeadLetter(errNoTenant) // another attempt would not help
		}
		return next(context.WithValue(ctx, tenantKey{}, tenant), d)
	}
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	b, err := bus.New(bus.Config{Use: []bus.Middleware{requireTenant}}) // around every handler
	if err != nil {
		return err
	}
	defer b.Close()
	signups, err := bus.NewTopic(b, Signups)
	if err != nil {
		return err
	}
	sub, err := signups.Subscribe(ctx, "welcome", func(ctx context.Context, s Signup) error {
		fmt.Printf("welcome to %v, %s\n", ctx.Value(tenantKey{}), s.User)
		return nil
	})
	if err != nil {
		return err
	}

	if err := signups.Publish(ctx, Signup{"ada"}, bus.Header("tenant", "acme")); err != nil {
		return err
	}
	if err := signups.Publish(ctx, Signup{"bob"}); err != nil {
		return err
	}
	if err := b.Shutdown(ctx); err != nil {
		return err
	}
	for _, l := range sub.DeadLetters() {
		signup, _ := bus.Value[Signup](l.Delivery)
		fmt.Printf("%s was given up: %v\n", signup.User, l.Err)
	}
	return nil
}
