package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/internal/redistest"
)

// channelRounds is how often everything is measured, by turns.
const channelRounds = 5

// What our side may take: times that of the raw pipelines, and bytes of memory for a channel.
const (
	barTimes = 3
	barBytes = 1200
)

// subscribing is somebody who subscribes to many channels.
type subscribing interface {
	// subscribe returns when all channels are confirmed.
	subscribe(ctx context.Context, channels []string) error
	// again returns when the want channels that were at the primary old, which was killed, are confirmed at now, which
	// has taken over a moment ago.
	again(ctx context.Context, old, now *redistest.Server, want int) error
	close() error
}

// channelResult is what was measured of one side.
type channelResult struct {
	name              string
	open              func(context.Context, *redistest.Cluster) (subscribing, error)
	subscribed, again span
	heap              []int64
}

// measureChannels compares subscribing to n channels, and again after a fail-over, with raw pipelines of SSUBSCRIBE.
func measureChannels(ctx context.Context, n int) (err error) {
	c, end, err := startCluster(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	channels := make([]string, n)
	for i := range channels {
		channels[i] = fmt.Sprintf("channels.%d", i)
	}
	sides := []channelResult{{name: "raw", open: openRawChannels}}
	for _, m := range modes {
		sides = append(sides, channelResult{name: m.name, open: openOurChannels(m)})
	}
	for round := range channelRounds {
		for i := range sides {
			if err := sides[i].one(ctx, c, round, channels); err != nil {
				return fmt.Errorf("%s: %w", sides[i].name, err)
			}
		}
	}
	return judgeChannels(n, sides)
}

// one measures one side once.
func (r *channelResult) one(ctx context.Context, c *redistest.Cluster, round int, channels []string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Heal(ctx); err != nil {
		return err
	}
	side, err := r.open(ctx, c)
	if err != nil {
		return err
	}
	warmUp(len(channels))
	before := heap() // with the connections that were made already
	start := time.Now()
	if err := side.subscribe(ctx, channels); err != nil {
		return errors.Join(err, side.close())
	}
	r.subscribed = append(r.subscribed, time.Since(start))
	r.heap = append(r.heap, heap()-before)
	took, err := failOver(ctx, c, round, side)
	r.again = append(r.again, took)
	return errors.Join(err, side.close())
}

// warmUp has as many goroutines as subscribe will: what the runtime keeps of each is not ours.
func warmUp(n int) {
	var running sync.WaitGroup
	gate := make(chan struct{})
	for range n {
		running.Go(func() { <-gate })
	}
	close(gate)
	running.Wait()
}

// failOver kills a primary and measures from when its replica has taken over to when its channels are confirmed there.
func failOver(ctx context.Context, c *redistest.Cluster, round int, side subscribing) (time.Duration, error) {
	primaries, err := c.Primaries(ctx)
	if err != nil {
		return 0, err
	}
	old := primaries[round%len(primaries)]
	replicas, err := c.Replicas(ctx, old)
	if err != nil || len(replicas) == 0 {
		return 0, errors.Join(err, errors.New("no replica"))
	}
	list, err := old.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub")
	if err != nil {
		return 0, err
	}
	want := subscriptions(fmt.Sprint(list)) // those of our side on channels of its own among them
	if err := old.Kill(); err != nil {
		return 0, err
	}
	watch, err := rueidis.NewClient(single(replicas[0].Addr()))
	if err != nil {
		return 0, err
	}
	defer watch.Close()
	for { // closer than redistest looks
		role, err := watch.Do(ctx, watch.B().Role().Build()).ToArray()
		if err != nil {
			return 0, err
		}
		if word, _ := role[0].ToString(); word == "master" {
			break
		}
		pause(ctx, time.Millisecond)
	}
	start := time.Now()
	err = side.again(ctx, old, replicas[0], want)
	return time.Since(start), err
}

// heap is the bytes in use after a garbage collection.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func (s span) median() time.Duration { return slices.Sorted(slices.Values(s))[(len(s)-1)/2] }

// judgeChannels compares every side with the first.
func judgeChannels(n int, sides []channelResult) error {
	var missed []error
	raw := sides[0]
	for _, r := range sides {
		slices.Sort(r.heap)
		bytes := r.heap[len(r.heap)/2] / int64(n)
		first := float64(r.subscribed.median()) / float64(raw.subscribed.median())
		again := float64(r.again.median()) / float64(raw.again.median())
		fmt.Printf("%-12s %d channels subscribed in %s: %.2f times raw; a third of them, after a fail-over, in %s: %.2f times; %d B of memory each\n",
			r.name, n, r.subscribed, first, r.again, again, bytes)
		if first > barTimes || again > barTimes {
			missed = append(missed, fmt.Errorf("%s: more than %d times raw", r.name, barTimes))
		}
		if bytes > barBytes {
			missed = append(missed, fmt.Errorf("%s: more than %d B for each channel", r.name, barBytes))
		}
	}
	return errors.Join(missed...)
}

// single is how to reach one node.
func single(addr string) rueidis.ClientOption {
	return rueidis.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
	}
}

// all calls f for each at once and joins the errors.
func all[E any](each []E, f func(E) error) error {
	errs := make([]error, len(each))
	var running sync.WaitGroup
	for i, e := range each {
		running.Go(func() { errs[i] = f(e) })
	}
	running.Wait()
	return errors.Join(errs...)
}
