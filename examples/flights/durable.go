package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
)

// remembered is how long the log keeps the flights, and knows their IDs. A run that was killed can be
// started again as long.
const remembered = 7 * 24 * time.Hour

// subscription is the name under which the log knows how far the flights are counted.
const subscription = "airports"

// durableDepartures is Departures in a log.
func durableDepartures() bus.TopicConfig[Flight] {
	cfg := Departures
	cfg.Class = bus.Durable
	cfg.Retain = bus.Retain{Age: remembered}
	cfg.DedupIDs = remembered
	return cfg
}

// flightID is the same for a flight in every run, so that the log recognises it.
func flightID(f Flight) string {
	return fmt.Sprintf("%s %s-%s #%d", f.Date.Format(dateLayout), f.Origin, f.Destination, f.Line)
}

// countDurable is count with the flights in the log at path. Every run publishes all flights of in,
// and the log takes those that it does not have. Every run reads the log from its beginning, as the
// airports are only in memory. So it does not matter how many runs before were killed, or where.
func countDurable(ctx context.Context, path string, in *input, show *progress, say io.Writer) (_ []*airport, ledger bus.Stats, err error) {
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	log, err := file.Open(path, file.Config{})
	if err != nil {
		return nil, ledger, fmt.Errorf("-durable: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	b, err := bus.New(bus.Config{Log: log})
	if err != nil {
		return nil, ledger, err
	}
	defer b.Close()
	departures, err := bus.NewTopic(b, durableDepartures())
	if err != nil {
		return nil, ledger, err
	}
	err = departures.Seek(ctx, subscription, bus.Earliest())
	if err != nil && !errors.Is(err, transport.ErrNoSuchConsumer) { // as in the first run
		return nil, ledger, err
	}
	before, err := waiting(ctx, departures)
	if err != nil {
		return nil, ledger, err
	}
	fmt.Fprintf(say, "%d flights are in %s already\n", before, path)
	board := &board{source: in.name}
	sub, err := departures.Subscribe(running, subscription, board.depart,
		bus.From(bus.Earliest()), bus.Lanes(lanes), bus.Mailbox(mailbox, bus.Block),
		bus.OnGap(func(g bus.Gap) { fail(fmt.Errorf("flights are missing: %v", g)) }),
		bus.OnDeadLetter(func(_ context.Context, l bus.Letter) { fail(l.Err) }))
	if err != nil {
		return nil, ledger, err
	}

	stopShowing := show.start(sub)
	published, err := publish(running, in, func(ctx context.Context, flights []Flight) error {
		messages := make([]bus.Outgoing[Flight], len(flights))
		for i, f := range flights {
			messages[i] = bus.Outgoing[Flight]{Value: f, ID: flightID(f)}
		}
		return departures.PublishMessages(ctx, messages)
	})
	if err == nil {
		err = caughtUp(running, departures)
	}
	err = errors.Join(err, shutdown(ctx, b))
	stopShowing()
	ledger = sub.Stats()
	switch {
	case ctx.Err() != nil:
		return nil, ledger, interrupted(ctx, published)
	case running.Err() != nil:
		return nil, ledger, context.Cause(running)
	case err != nil:
		return nil, ledger, err
	case ledger.Handled != published:
		return nil, ledger, fmt.Errorf("%s has %d flights, and %s %d: was it made of another file?", path, ledger.Handled, in.name, published)
	}
	return board.byOrigin(), ledger, nil
}

// waiting is how many flights of the log are not counted.
func waiting(ctx context.Context, departures *bus.Topic[Flight]) (n uint64, err error) {
	lag, err := departures.Lag(ctx)
	for _, l := range lag {
		n += l.Lag
	}
	return n, err
}

// caughtUp waits until every flight of the log is counted.
func caughtUp(ctx context.Context, departures *bus.Topic[Flight]) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if n, err := waiting(ctx, departures); err != nil || n == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
