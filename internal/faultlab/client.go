package faultlab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Client is a client under test.
type Client struct {
	Name string // it is the key of its Driver too
	// Numbered says that it numbers its events and reports gaps: it is checked. The others are measured.
	Numbered bool
	// Complete says that nothing that was accepted from a living publisher may be missing, told or not; and that what
	// neither arrived nor is told of was declared void, which is counted.
	Complete bool
	// Channel returns the channel of a topic, given a name whose slot it must have.
	Channel func(topic string) string
	Rate    int // as in ProcessConfig
	Workers int // as in ProcessConfig
	// Publishers and Subscribers are how many processes there are of each. 0: one.
	Publishers, Subscribers int
	// PublishTimeout is as in ProcessConfig.
	PublishTimeout time.Duration
}

// RunningClient is a client's processes.
type RunningClient struct {
	Client
	lab      *Lab
	channels []string

	publishers         []*process // that run
	subscribers        []*process // that run; the i-th of the client is at i
	all                []*process
	publishersStarted  int      // publishers ever started, so that each has an index of its own
	subscribersStarted int      // subscribers ever started
	incarnations       [][]int  // by the position of a subscriber: the indices of the processes that were it
	problems           []string // not of one process
	restarted          int
	voided             []int64 // by the position of a subscriber: numbers it knows to be void, in the end
}

// start starts the processes, subscribers first.
func (t *RunningClient) start(ctx context.Context) error {
	t.incarnations = make([][]int, max(1, t.Subscribers))
	t.subscribers = make([]*process, len(t.incarnations))
	for i := range t.subscribers {
		if err := t.subscribe(ctx, i); err != nil {
			return err
		}
	}
	for range max(1, t.Publishers) {
		if err := t.publish(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *RunningClient) processConfig() ProcessConfig {
	s := ProcessConfig{
		Client: t.Name, Dir: t.lab.Dir, Addrs: t.lab.Cluster.Addrs(), Channels: t.channels,
		Workers: max(1, t.Workers), PublishTimeout: t.PublishTimeout,
	}
	if t.Rate > 0 {
		s.Rate = max(1, t.Rate/max(1, t.Publishers))
	}
	return s
}

// subscribe starts the subscriber of a position.
func (t *RunningClient) subscribe(ctx context.Context, position int) error {
	s := t.processConfig()
	s.Index = t.subscribersStarted
	t.subscribersStarted++
	p, err := startProcess(ctx, s)
	if err != nil {
		return err
	}
	t.subscribers[position] = p
	t.incarnations[position] = append(t.incarnations[position], s.Index)
	t.all = append(t.all, p)
	return nil
}

// publish starts one more publisher.
func (t *RunningClient) publish(ctx context.Context) error {
	s := t.processConfig()
	s.Publisher, s.Index = true, t.publishersStarted
	t.publishersStarted++
	p, err := startProcess(ctx, s)
	if err != nil {
		return err
	}
	t.publishers = append(t.publishers, p)
	t.all = append(t.all, p)
	return nil
}

// killPublisher kills the oldest publisher and starts another.
func (t *RunningClient) killPublisher(ctx context.Context) error {
	err := t.publishers[0].kill()
	t.publishers = t.publishers[1:]
	return errors.Join(err, t.publish(ctx))
}

// flows reports what is missing until every subscriber has had an event of every publisher on every topic that was published
// after since. A publisher that a subscriber never heard of on a topic owes it nothing there: a fault before that proves
// nothing.
func (t *RunningClient) flows(since time.Time) error {
	for i, s := range t.subscribers {
		for _, p := range t.publishers {
			if oldest := s.oldestOf(p.Index); oldest.Before(since) {
				return fmt.Errorf("subscriber %d of %s: nothing of publisher %d on some topic for %v",
					i, t.Name, p.Index, time.Since(oldest).Round(time.Millisecond))
			}
		}
	}
	return nil
}

// flowing waits until events flow, at most for limit. Who is measured only is started afresh then, and has the time
// once more; after that nobody waits for it.
func (t *RunningClient) flowing(ctx context.Context, limit time.Duration) error {
	since := time.Now()
	err := t.lab.eventually(ctx, limit, func() error { return t.flows(since) })
	if err == nil || t.Numbered || ctx.Err() != nil {
		return err
	}
	t.restarted++
	for _, p := range t.all {
		if err := p.stop(); err != nil {
			t.problems = append(t.problems, err.Error())
		}
	}
	t.publishers = nil
	for i := range t.subscribers {
		// It may fail: the cluster may not be whole yet.
		if err := t.lab.eventually(ctx, LongTimeout, func() error { return t.subscribe(ctx, i) }); err != nil {
			return err
		}
	}
	for range max(1, t.Publishers) {
		if err := t.lab.eventually(ctx, LongTimeout, func() error { return t.publish(ctx) }); err != nil {
			return err
		}
	}
	since = time.Now()
	if err := t.lab.eventually(ctx, limit, func() error { return t.flows(since) }); err != nil {
		t.problems = append(t.problems, fmt.Sprintf("started afresh, and silent: %v", err))
	}
	return ctx.Err()
}

// eventually polls until cond returns nil, at most for limit of the time that counts.
func (s *Lab) eventually(ctx context.Context, limit time.Duration, cond func() error) error {
	ctx, cancel := s.within(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("faultlab: not within %v: %w", limit, err)
		case <-tick.C:
		}
	}
}

// quiet is how long nothing may arrive until nothing more is expected.
const quiet = 3 * time.Second

// finish ends the publishers, waits for what is under way, and ends the subscribers.
func (t *RunningClient) finish(ctx context.Context) error {
	var errs []error
	var assigned int64
	for _, p := range t.publishers {
		errs = append(errs, p.stop())
		assigned += p.assigned.Load()
	}
	for _, p := range t.all {
		if p.wasKilled() {
			assigned = -1 // nobody knows how many
		}
	}
	for _, s := range t.subscribers {
		last, changed := int64(-1), time.Now()
		err := t.lab.eventually(ctx, LongTimeout, func() error {
			sum := s.received.Load() + s.missing.Load() + s.voided.Load()
			if sum != last {
				last, changed = sum, time.Now()
			}
			if assigned > 0 && sum >= assigned || t.lab.own(changed, time.Now()) > quiet {
				return nil
			}
			return fmt.Errorf("%s has %d of %d", s.name(), sum, assigned)
		})
		t.voided = append(t.voided, s.voided.Load())
		errs = append(errs, err, s.stop())
	}
	return errors.Join(errs...)
}

// abandon kills what still runs.
func (t *RunningClient) abandon() {
	for _, p := range t.all {
		_ = p.kill()
	}
}

// memory is what the living processes use.
func (t *RunningClient) memory(ctx context.Context) (all []Memory, err error) {
	for _, p := range append(t.publishers[:len(t.publishers):len(t.publishers)], t.subscribers...) {
		m, err := p.queryMemory(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// Restarted is how often the client, one that is measured only, was silent for so long that it was started afresh.
func (t *RunningClient) Restarted() int { return t.restarted }
