// Command flights counts the departures and delays of airports: real flights are published as
// events keyed by their origin, and a subscription with several lanes keeps one account for each
// airport.
//
//	go run ./examples/flights
//	go run ./examples/flights -input FILE.csv.gz -out airports.csv -quiet
//	go run ./examples/flights -redis localhost:6379
//	go run ./examples/flights -durable flights.db -out airports.csv
//
// The exit status is 0 when every flight was counted, 1 when something failed, 2 for a wrong
// command line and 130 after Ctrl-C.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal ends the run in order, a second one at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(exitStatus(err, os.Stderr))
}

// exitStatus says on stderr what err is, and gives the status that goes with it.
func exitStatus(err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage): // the flag package has said why
		return 2
	}
	fmt.Fprintln(stderr, err)
	if errors.Is(err, errInterrupted) {
		return 128 + int(syscall.SIGINT)
	}
	return 1
}
