package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// soakLimit is after how long a soak comes to its end early.
const soakLimit = 50 * time.Second

// field is everybody, in the order of the table.
func field() []contestant {
	return []contestant{shardbus{}, channel{}, swapqueue{}, protoactor{}, watermillChannel{}}
}

// workloads is all of them, in the order of the table.
func workloads() []*workload {
	return []*workload{
		w1(), w1batch(), w2(10), w2(100), w3(), w4(), w5(), w5ask(), w6(), w7(), w7actors(), w8(),
	}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	only := flag.String("w", "", "workloads, by name or the beginning of it, separated by commas; default all")
	who := flag.String("c", "", "contestants, separated by commas; default all")
	rounds := flag.Int("rounds", 6, "rounds of each contestant in each workload")
	events := flag.Uint64("events", 0, "events (W7: subscriptions or actors) a round; default as each workload says")
	limit := flag.Duration("limit", 15*time.Second, "how long a round may take before its contestant has failed")
	cpu := flag.String("cpuprofile", "", "write a CPU profile of the run to this file")
	soaked := flag.Uint64("soak", 0, "instead of measuring, publish that many events to every kind of subscription, and watch memory and ledgers")
	mem := flag.String("memprofile", "", "write a profile of allocations to this file; it slows the run down")
	flag.Parse()
	if *rounds < 1 {
		return fmt.Errorf("-rounds is %d, it must be at least 1", *rounds)
	}
	contestants, err := choose(field(), *who, func(c contestant, word string) bool { return c.name() == word })
	if err != nil {
		return err
	}
	chosen, err := choose(workloads(), *only, func(w *workload, word string) bool {
		return strings.EqualFold(w.name, word) || strings.EqualFold(strings.Split(w.name, "×")[0], word)
	})
	if err != nil {
		return err
	}
	stop, err := profiling(*cpu, *mem)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	if *soaked > 0 {
		return runSoak(os.Stdout, *soaked, soakLimit)
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d, medians of %d rounds in turns%s\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), *rounds, loadAverage())
	start := time.Now()
	var total count
	for _, w := range chosen {
		began := time.Now()
		results := w.run(contestants, config{rounds: *rounds, events: *events, limit: *limit})
		w.print(os.Stdout, contestants, results)
		fmt.Printf("  (%.0f s)\n", time.Since(began).Seconds())
		for _, b := range w.bars {
			total.add(b.judge(results))
		}
	}
	fmt.Printf("\nbars: %d met, %d missed, %d not measured; %.0f s%s\n",
		total.met, total.missed, total.unknown, time.Since(start).Seconds(), loadAverage())
	return nil
}

// loadAverage is how busy the machine was during the last minute, with this run
// included; "" where the system does not tell.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	minute, _, _ := strings.Cut(string(text), " ")
	return ", load average " + minute
}

// choose is those of all that one of the words, separated by commas, matches.
func choose[E any](all []E, words string, matches func(e E, word string) bool) ([]E, error) {
	if words == "" {
		return all, nil
	}
	var chosen []E
	list := strings.Split(words, ",")
	for _, e := range all {
		if slices.ContainsFunc(list, func(word string) bool { return matches(e, word) }) {
			chosen = append(chosen, e)
		}
	}
	for _, word := range list {
		if !slices.ContainsFunc(all, func(e E) bool { return matches(e, word) }) {
			return nil, fmt.Errorf("there is no %q", word)
		}
	}
	return chosen, nil
}
