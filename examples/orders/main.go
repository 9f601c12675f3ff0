// Orders is a small order service whose events outlive it: payments are tried again, customers who do
// not pay are reminded, and what is paid is shipped. Kill it whenever you like, and start it again: it
// goes on. docs/durable.md explains what it does.
//
//	go run ./examples/orders
//	order o-1 ann 1990
//	order o-2 bob 250000
//	letters
//	limit 500000
//	replay
//
// With -redis 127.0.0.1:6379 the events are kept on that server, or on the cluster that it belongs to,
// in place of a file, and several processes share the work.
//
// Ctrl-D ends it in order. What it did stands in orders.txt, a line for each payment, parcel and mail.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/redis"
)

type Order struct {
	ID, Customer string
	Cents        int
}

var (
	errOffline = errors.New("the bank is offline")
	errBlocked = errors.New("the amount is above the limit")
)

// topic describes a topic of orders that are kept for a week. Those of one customer keep their order.
func topic(name string) bus.TopicConfig[Order] {
	return bus.TopicConfig[Order]{
		Name: name, Class: bus.Durable, DedupIDs: 24 * time.Hour, Key: func(o Order) string { return o.Customer },
	}
}

func main() {
	path := flag.String("log", "orders.db", "keep the events in `FILE`")
	server := flag.String("redis", "", "keep the events in Redis at `ADDR` in place of a file")
	done := flag.String("done", "orders.txt", "write what was done to `FILE`")
	patience := flag.Duration("remind", time.Minute, "remind a customer who has not paid after this `TIME`")
	flag.Parse()
	if err := run(context.Background(), *path, *server, *done, *patience, os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// openLog opens what keeps the events: a file, or Redis. It is to be closed after the bus.
func openLog(ctx context.Context, path, server string) (bus.Config, io.Closer, error) {
	if server == "" {
		events, err := file.Open(path, file.Config{})
		return bus.Config{Log: events}, events, err
	}
	t, err := redis.Open(ctx, redis.Config{Addrs: []string{server}, Lease: 2 * time.Second}) // after a crash others go on that soon
	return bus.Config{Transport: t}, t, err
}

func run(ctx context.Context, path, server, done string, patience time.Duration, in io.Reader, out io.Writer) (err error) {
	config, events, err := openLog(ctx, path, server)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, events.Close()) }() // after the bus
	effects, err := os.OpenFile(done, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer effects.Close()
	b, err := bus.New(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Shutdown(context.WithoutCancel(ctx))) }()
	s, err := open(ctx, b, patience, effects)
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		answer, err := s.command(ctx, strings.Fields(lines.Text()))
		if err != nil {
			answer = err.Error()
		}
		fmt.Fprintln(out, answer)
	}
	return nil
}

// shop has the topics. An order goes from orders to paid, or becomes a dead letter of the payments.
type shop struct {
	orders, paid, reminders *bus.Topic[Order]
	limit                   atomic.Int64 // of what the bank pays for an order
	patience                time.Duration
	effects                 io.Writer
}

func open(ctx context.Context, b *bus.Bus, patience time.Duration, effects io.Writer) (*shop, error) {
	s := &shop{patience: patience, effects: effects}
	s.limit.Store(100_000)
	for name, made := range map[string]**bus.Topic[Order]{"orders": &s.orders, "paid": &s.paid, "reminders": &s.reminders} {
		var err error
		if *made, err = bus.NewTopic(b, topic(name)); err != nil {
			return nil, err
		}
	}
	// Errors of the bank are tried again, and meanwhile only that customer's orders wait. The tries are
	// kept in the log, so a restart does not begin again.
	retry := middleware.Retry(middleware.RetryConfig{MaxAttempts: 20, InitialDelay: 10 * time.Millisecond, MaxDelay: time.Minute})
	_, err := s.orders.SubscribeMessage(ctx, "pay", s.pay, bus.From(bus.Earliest()), bus.Lanes(8), bus.Use(retry))
	if err == nil {
		_, err = s.paid.Subscribe(ctx, "ship", s.ship, bus.From(bus.Earliest()), bus.Lanes(8))
	}
	if err == nil {
		_, err = s.reminders.Subscribe(ctx, "mail", s.mail, bus.From(bus.Earliest()))
	}
	return s, err
}

// pay handles an order.
func (s *shop) pay(ctx context.Context, m bus.Message[Order]) error {
	o := m.Value
	switch err := s.charge(o, m.Attempt); {
	case errors.Is(err, errBlocked):
		if err := s.remind(ctx, o); err != nil {
			return err
		}
		return bus.DeadLetter(err) // no use in trying again
	case err != nil:
		return errors.Join(err, s.remind(ctx, o))
	}
	if _, err := s.reminders.Cancel(ctx, "remind-"+o.ID); err != nil {
		return err
	}
	return s.paid.Publish(ctx, o, bus.Within(m)) // in the log with the end of m, or not at all: what is paid is shipped
}

// charge has the bank pay. It is offline when the first attempt is made at a third of the orders.
func (s *shop) charge(o Order, attempt int) error {
	switch {
	case int64(o.Cents) > s.limit.Load():
		return errBlocked
	case attempt == 1 && crc32.ChecksumIEEE([]byte(o.ID))%3 == 0:
		return errOffline
	}
	return s.did("charged %s\n", o.ID) // maybe again after a kill: a real bank is given the ID, and takes the money once
}

// remind has the customer reminded in a while. The ID makes it one reminder, however often it is tried.
func (s *shop) remind(ctx context.Context, o Order) error {
	return s.reminders.Publish(ctx, o, bus.After(s.patience), bus.ID("remind-"+o.ID))
}

func (s *shop) ship(_ context.Context, o Order) error { return s.did("shipped %s\n", o.ID) }

func (s *shop) mail(_ context.Context, o Order) error { return s.did("reminded %s\n", o.ID) }

// did writes down an effect. A write to the file is all there or not.
func (s *shop) did(format string, args ...any) error {
	_, err := fmt.Fprintf(s.effects, format, args...)
	return err
}

// command does what a line says, and returns the answer.
func (s *shop) command(ctx context.Context, words []string) (string, error) {
	switch {
	case len(words) == 4 && words[0] == "order":
		cents, err := strconv.Atoi(words[3])
		if err != nil {
			return "", err
		}
		// A client that got no answer repeats its line: the log knows the ID.
		var r bus.Receipt
		if err := s.orders.Publish(ctx, Order{words[1], words[2], cents}, bus.ID(words[1]), bus.ReceiptTo(&r)); err != nil {
			return "", err
		}
		return fmt.Sprintf("accepted %s offset %d known %v", words[1], r.Offset, r.Duplicate), nil
	case len(words) == 2 && words[0] == "limit":
		limit, err := strconv.ParseInt(words[1], 10, 64)
		s.limit.Store(limit)
		return "limit " + words[1], err
	case len(words) == 1 && words[0] == "letters":
		var text strings.Builder
		for letter, err := range s.orders.DeadLetters(ctx, "pay") {
			if err != nil {
				return "", err
			}
			payload, _ := letter.Delivery.Payload()
			fmt.Fprintf(&text, "%s %s\n", payload, letter.Error)
		}
		return text.String() + "end of letters", nil
	case len(words) == 1 && words[0] == "replay":
		n, err := s.orders.Replay(ctx, "pay", nil)
		return fmt.Sprintf("replayed %d", n), err
	}
	return "say: order ID CUSTOMER CENTS | letters | limit CENTS | replay", nil
}
