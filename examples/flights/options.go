package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
)

// errUsage: the command line is wrong.
var errUsage = errors.New("usage")

// options are what the command line says.
type options struct {
	input string // a .csv or .csv.gz file; empty is the one built in
	out   string // empty writes no file
	quiet bool
	redis string // where Redis is; empty stays in this process
	// durable is the file that keeps the flights; empty keeps none.
	durable string
}

// parseOptions reads the command line; what is wrong with it is said on stderr.
func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("flights", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.input, "input", "", "read flights from `FILE`, .csv or .csv.gz (default: the 20,000 built in)")
	flags.StringVar(&o.out, "out", "", "write the airports to `FILE`, as CSV sorted by origin")
	flags.BoolVar(&o.quiet, "quiet", false, "print nothing but errors")
	flags.StringVar(&o.redis, "redis", "", "send the flights through Redis at `ADDR[,ADDR…]`: host:port of a server or of any cluster nodes,\n"+
		"or redis://user:password@host:port, rediss:// for TLS")
	flags.StringVar(&o.durable, "durable", "", "keep the flights in `FILE`, a log: a run that was killed goes on when it is started again")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "flights takes no arguments, only flags; given: %q\n", flags.Args())
		flags.Usage()
		return o, errUsage
	}
	if o.durable != "" && o.redis != "" {
		fmt.Fprintln(stderr, "-durable and -redis exclude each other")
		flags.Usage()
		return o, errUsage
	}
	return o, nil
}
