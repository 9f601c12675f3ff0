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
	subscribed, again []time.Duration
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
	var raw, ours channelResult
	for round := range channelRounds {
		for _, side := range []struct {
			open   func(context.Context, *redistest.Cluster) (subscribing, error)
			result *channelResult
		}{{openRawChannels, &raw}, {openOurChannels, &ours}} {
			if err := side.result.one(ctx, c, round, channels, side.open); err != nil {
				return err
			}
		}
	}
	return judgeChannels(n, raw, ours)
}

// one measures one side once.
func (r *channelResult) one(ctx context.Context, c *redistest.Cluster, round int, channels []string,
	open func(context.Context, *redistest.Cluster) (subscribing, error),
) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.Heal(ctx); err != nil {
		return err
	}
	before := heap()
	side, err := open(ctx, c)
	if err != nil {
		return err
	}
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

func judgeChannels(n int, raw, ours channelResult) error {
	var missed []error
	for _, m := range []struct {
		what      string
		raw, ours span
	}{
		{fmt.Sprintf("%d channels subscribed", n), raw.subscribed, ours.subscribed},
		{fmt.Sprintf("a third of %d confirmed again after a fail-over", n), raw.again, ours.again},
	} {
		ratio := float64(m.ours.median()) / float64(m.raw.median())
		fmt.Printf("%s: raw %s, ours %s: %.2f times\n", m.what, m.raw, m.ours, ratio)
		if ratio > barTimes {
			missed = append(missed, fmt.Errorf("%s: %.2f times raw, want %d at most", m.what, ratio, barTimes))
		}
	}
	slices.Sort(raw.heap)
	slices.Sort(ours.heap)
	rawBytes, ourBytes := raw.heap[len(raw.heap)/2]/int64(n), ours.heap[len(ours.heap)/2]/int64(n)
	fmt.Printf("memory for each channel: raw %d B, ours %d B\n", rawBytes, ourBytes)
	if ourBytes > barBytes {
		missed = append(missed, fmt.Errorf("%d B for each channel, want %d at most", ourBytes, barBytes))
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
