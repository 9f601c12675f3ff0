package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

const (
	lanes = 4
	// mailbox is what each lane may have waiting: far less than the input, so that the handlers set
	// the publisher's pace.
	mailbox = 64
	// batch is how many flights are published together.
	batch = 64
	// patience bounds the time in which the last flights must be counted.
	patience = 10 * time.Second
)

// errInterrupted: the program was told to stop before the last flight.
var errInterrupted = errors.New("interrupted")

// run is the program: it counts all flights, or returns why not and writes nothing.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	in, err := openInput(ctx, opts.input)
	if ctx.Err() != nil {
		return interrupted(ctx, 0)
	}
	if err != nil {
		return err
	}
	defer in.Close()
	show := &progress{}
	if !opts.quiet && isTerminal(stderr) {
		show.w = stderr
	}
	say := stdout
	if opts.quiet {
		say = io.Discard
	}
	airports, ledger, err := countAll(ctx, opts, in, show, say)
	if err != nil {
		if errors.Is(err, errInterrupted) && !opts.quiet {
			fmt.Fprintln(stderr, "ledger:", ledger)
		}
		return err
	}
	if opts.out != "" {
		if err := writeFile(opts.out, func(w io.Writer) error { return writeCSV(w, airports) }); err != nil {
			return err
		}
	}
	if opts.quiet {
		return nil
	}
	return writeSummary(stdout, airports, ledger)
}

// countAll counts the flights of in where opts say.
func countAll(ctx context.Context, opts options, in *input, show *progress, say io.Writer) ([]*airport, bus.Stats, error) {
	if opts.durable != "" {
		return countDurable(ctx, opts.durable, in, show, say)
	}
	t, closeTransport, err := openTransport(ctx, opts.redis)
	if ctx.Err() != nil {
		return nil, bus.Stats{}, interrupted(ctx, 0)
	}
	if err != nil {
		return nil, bus.Stats{}, err
	}
	defer closeTransport()
	b, err := openBus(t)
	if err != nil {
		return nil, bus.Stats{}, err
	}
	defer b.Close()
	var pace window
	if t != nil {
		pace = make(window, inFlight)
	}
	return count(ctx, b, in, show, pace)
}

// interrupted is the error of a run that ended with its context.
func interrupted(ctx context.Context, published uint64) error {
	return fmt.Errorf("%w after %d flights: %w", errInterrupted, published, context.Cause(ctx))
}

// openBus makes the bus. A nil transport keeps the flights in this process.
func openBus(t transport.Transport) (*bus.Bus, error) {
	return bus.New(bus.Config{Transport: t})
}

// count publishes every flight of in and returns the airports once all are counted. However it
// ends, it shuts b down in order, and the ledger says what became of the flights that were
// published.
func count(ctx context.Context, b *bus.Bus, in *input, show *progress, pace window) ([]*airport, bus.Stats, error) {
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	departures, err := bus.NewTopic(b, Departures)
	if err != nil {
		return nil, bus.Stats{}, err
	}
	board := &board{source: in.name}
	sub, err := departures.Subscribe(running, "airports", board.depart,
		bus.Lanes(lanes), bus.Mailbox(mailbox, bus.Block), bus.Use(pace.middleware(b)),
		bus.OnGap(func(g bus.Gap) { fail(fmt.Errorf("flights are missing: %v", g)) }),
		bus.OnDeadLetter(func(_ context.Context, l bus.Letter) { fail(l.Err) })) // one flight that can't be counted is one too many
	if err != nil {
		return nil, bus.Stats{}, err
	}

	stopShowing := show.start(sub)
	published, err := publish(running, in, func(ctx context.Context, flights []Flight) error {
		for range flights {
			if err := pace.acquire(ctx); err != nil {
				return err
			}
		}
		return departures.PublishBatch(ctx, flights)
	})
	if err == nil {
		err = settle(running, pace)
	}
	err = errors.Join(err, shutdown(ctx, b))
	stopShowing()
	ledger := sub.Stats()
	switch {
	case ctx.Err() != nil:
		return nil, ledger, interrupted(ctx, published)
	case running.Err() != nil:
		return nil, ledger, context.Cause(running)
	case err != nil:
		return nil, ledger, err
	case ledger.Handled != published:
		return nil, ledger, fmt.Errorf("%d flights were published, and the ledger is: %v", published, ledger)
	}
	return board.byOrigin(), ledger, nil
}

// publish gives every flight to send, a batch at a time, which may hold it up, and says how many it
// took. It stops at the first error, and when ctx ends.
func publish(ctx context.Context, in *input, send func(context.Context, []Flight) error) (published uint64, err error) {
	flights := make([]Flight, 0, batch)
	flush := func() error {
		if ctx.Err() != nil { // in one process send looks at ctx only where it has to wait
			return context.Cause(ctx)
		}
		if err := send(ctx, flights); err != nil {
			return err
		}
		published += uint64(len(flights))
		flights = flights[:0]
		return nil
	}
	for f, err := range in.flights() {
		if err != nil {
			return published, err
		}
		if flights = append(flights, f); len(flights) == batch {
			if err := flush(); err != nil {
				return published, err
			}
		}
	}
	return published, flush()
}

// settle waits for flights that are still on their way through Redis.
func settle(ctx context.Context, pace window) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := pace.drained(ctx); err != nil {
		return fmt.Errorf("the last flights have not come back: %w", err)
	}
	return nil
}

// shutdown lets the handlers finish, also when ctx has ended.
func shutdown(ctx context.Context, b *bus.Bus) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return b.Shutdown(ctx)
}
