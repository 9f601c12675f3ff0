package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
)

func main() {
	if config := os.Getenv(faultlab.ProcessEnv); config != "" {
		os.Exit(faultlab.RunProcess(config, drivers()))
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// options is the command line.
type options struct {
	faults, who, replicas, out, markdown, cpu string

	rounds, topics, rate, beside, publishers, subscribers, workers, soak, channels int

	saturate, costs bool
	silence         time.Duration
	seed            uint64
	limit           time.Duration
}

func run() error {
	var o options
	flag.StringVar(&o.faults, "faults", "", "faults, separated by commas; default all")
	flag.StringVar(&o.who, "c", "", "clients, separated by commas; default all")
	flag.StringVar(&o.replicas, "replicas", "1,2", "replicas of each primary; a run for each number")
	flag.StringVar(&o.out, "out", "", "append what was measured to this file, for -markdown")
	flag.StringVar(&o.markdown, "markdown", "", "print the table of the files named, separated by commas, and do nothing else")
	flag.IntVar(&o.rounds, "rounds", 1, "how often each fault happens")
	flag.IntVar(&o.topics, "topics", 200, "topics")
	flag.IntVar(&o.rate, "rate", 5000, "events a second of each client that numbers them, on all topics together")
	flag.IntVar(&o.beside, "beside", 0, "events a second of each of the others; default as -rate")
	flag.IntVar(&o.publishers, "publishers", 2, "publishing processes of each client")
	flag.IntVar(&o.subscribers, "subscribers", 1, "subscribing processes of each")
	flag.IntVar(&o.workers, "workers", 2, "goroutines that publish, of each process on each topic; with -saturate 64 in each")
	flag.BoolVar(&o.saturate, "saturate", false, "publish as fast as it goes; the clients one after another")
	flag.IntVar(&o.soak, "soak", 0, "this many faults at random in a row, and one history over all of them")
	flag.Uint64Var(&o.seed, "seed", 0, "of -soak; default another one each time")
	flag.IntVar(&o.channels, "channels", 0, "measure subscribing to this many channels, and nothing else")
	flag.DurationVar(&o.silence, "silence", 10*time.Second, "how long a client that is measured only may be silent until it is started afresh")
	flag.BoolVar(&o.costs, "costs", false, "measure what Standby costs, and nothing else")
	flag.StringVar(&o.cpu, "cpuprofile", "", "with -channels, write a CPU profile to this file")
	flag.DurationVar(&o.limit, "limit", 30*time.Minute, "how long it may take")
	flag.Parse()
	if o.markdown != "" {
		return printMarkdown(os.Stdout, strings.Split(o.markdown, ","))
	}
	if isolated, err := inNamespace(); isolated || err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	switch {
	case o.channels > 0:
		return profiled(o.cpu, func() error { return measureChannels(ctx, o.channels) })
	case o.costs:
		return measureCosts(ctx, o)
	case o.soak > 0:
		return soak(ctx, o)
	}
	return o.runAll(ctx)
}

// profiled calls f, and writes a CPU profile of it if a file is named.
func profiled(path string, f func() error) (err error) {
	if path == "" {
		return f()
	}
	file, err := os.Create(path) // #nosec G304 -- a file the caller names.
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

// runAll runs the faults for each number of replicas.
func (o options) runAll(ctx context.Context) error {
	faults, err := chosen(possibleFaults(), o.faults, func(f faultlab.Fault) string { return f.Slug })
	if err != nil {
		return err
	}
	who, err := chosen(field(), o.who, func(e entry) string { return e.Name })
	if err != nil {
		return err
	}
	clients := [][]entry{who}
	if o.saturate { // whoever ran beside would take the machine away
		clients = nil
		for _, e := range who {
			clients = append(clients, []entry{e})
		}
	}
	var failures []error
	for _, text := range strings.Split(o.replicas, ",") {
		replicas, err := strconv.Atoi(text)
		if err != nil || replicas < 1 {
			return fmt.Errorf("-replicas: %q is no number of replicas from 1 on", text)
		}
		for _, client := range clients {
			if err := o.runOne(ctx, replicas, client, faults); err != nil {
				failures = append(failures, err)
			}
			if ctx.Err() != nil {
				return errors.Join(append(failures, ctx.Err())...)
			}
		}
	}
	return errors.Join(failures...)
}

// runOne runs the faults on one cluster.
func (o options) runOne(ctx context.Context, replicas int, client []entry, faults []faultlab.Fault) error {
	return o.inLab(ctx, replicas, o.clients(client), func(s *faultlab.Lab) error {
		say("3 primaries with %d replicas each; %s", replicas, o.load())
		windows, err := s.Run(ctx, faults, o.rounds)
		return errors.Join(err, s.Finish(ctx), o.report(s, conditions{Replicas: replicas, Rate: o.rateTold(), Topics: o.topics}, windows))
	})
}

// inLab calls f with a cluster and the clients on it.
func (o options) inLab(ctx context.Context, replicas int, all []faultlab.Client, f func(*faultlab.Lab) error) (err error) {
	c, end, err := startCluster(ctx, replicas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	s, err := faultlab.NewLab(ctx, c, o.topics, all, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.Say, s.SilenceLimit = say, o.silence
	return f(s)
}

func (o options) clients(client []entry) []faultlab.Client {
	var all []faultlab.Client
	for _, e := range client {
		c := e.Client
		c.Rate, c.Workers, c.Publishers, c.Subscribers = o.rate, o.workers, o.publishers, o.subscribers
		if !c.Numbered && o.beside > 0 {
			c.Rate = o.beside
		}
		if o.saturate {
			c.Rate, c.Workers = 0, 64
		}
		all = append(all, c)
	}
	return all
}

// rateTold is the rate in tables: 0 is saturation.
func (o options) rateTold() int {
	if o.saturate {
		return 0
	}
	return o.rate
}

func (o options) load() string {
	if o.saturate {
		return fmt.Sprintf("as many events as it goes, on %d topics", o.topics)
	}
	return fmt.Sprintf("%d events a second on %d topics", o.rate, o.topics)
}

// nodeTimeout is the clusters'.
const nodeTimeout = time.Second

func startCluster(ctx context.Context, replicas int) (c *redistest.Cluster, end func() error, err error) {
	config, dir, err := serverConfig()
	if err == nil {
		c, err = redistest.StartCluster(ctx, redistest.ClusterConfig{
			Config: config, Primaries: 3, Replicas: replicas, NodeTimeout: nodeTimeout,
		})
	}
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, func() error { return errors.Join(c.Close(), os.RemoveAll(dir)) }, nil
}

var began = time.Now()

func say(format string, args ...any) {
	fmt.Printf("%6.1f s  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// allFaults is those that need nothing special, and those that do.
func allFaults() []faultlab.Fault {
	return append(faultlab.Faults(), isolate, clockStep)
}

// possibleFaults is those of allFaults that can happen here; it says why others cannot.
func possibleFaults() []faultlab.Fault {
	return slices.DeleteFunc(allFaults(), func(f faultlab.Fault) bool {
		var err error
		switch f.Slug {
		case isolate.Slug:
			err = canIsolate()
		case clockStep.Slug:
			err = errors.Join(canIsolate(), canStep())
		}
		if err != nil {
			say("%s is left out: %v", f.Slug, err)
		}
		return err != nil
	})
}
