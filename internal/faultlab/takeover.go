package faultlab

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
)

// Replaced breaks a primary and waits until another has its slots.
func Replaced(ctx context.Context, s *Lab, round int, how func(*redistest.Server) error) (i Impact, err error) {
	p, slot, topics, err := s.Primary(ctx, round)
	if err != nil {
		return i, err
	}
	i.Topics, i.Began = topics, time.Now()
	if err := how(p); err != nil {
		return i, err
	}
	_, err = s.Cluster.WaitNewPrimary(ctx, slot, p)
	i.Known = time.Now()
	return i, err
}

// Healed undoes what was killed or stopped.
func Healed(ctx context.Context, s *Lab) error { return s.Cluster.Heal(ctx) }

// replica returns a replica of a primary, and the topics there.
func replica(ctx context.Context, s *Lab, round int) (r, p *redistest.Server, topics []int, err error) {
	p, _, topics, err = s.Primary(ctx, round)
	if err != nil {
		return nil, nil, nil, err
	}
	replicas, err := s.Cluster.Replicas(ctx, p)
	if err != nil {
		return nil, nil, nil, err
	}
	if len(replicas) == 0 {
		return nil, nil, nil, errors.New("faultlab: " + p.Addr() + " has no replica")
	}
	return replicas[round%len(replicas)], p, topics, nil
}

// promoted is a fail-over that a replica is told to do.
func promoted(how redistest.FailOverMode) func(context.Context, *Lab, int) (Impact, error) {
	return func(ctx context.Context, s *Lab, round int) (Impact, error) {
		return Replaced(ctx, s, round, func(p *redistest.Server) error {
			replicas, err := s.Cluster.Replicas(ctx, p)
			if err != nil {
				return err
			}
			if len(replicas) == 0 {
				return errors.New("faultlab: " + p.Addr() + " has no replica")
			}
			return s.Cluster.FailOver(ctx, replicas[0], how)
		})
	}
}

// wait is the length of a fault; it returns early when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Faults of one node, and of the process that publishes.
var (
	Kill9 = Fault{
		Slug: "kill9", Title: "kill -9 of a primary",
		Inject: func(ctx context.Context, s *Lab, round int) (Impact, error) {
			return Replaced(ctx, s, round, (*redistest.Server).Kill)
		},
		Mend: Healed,
	}
	SIGSTOP = Fault{
		Slug: "sigstop", Title: "SIGSTOP of a primary, SIGCONT when it was replaced",
		Inject: func(ctx context.Context, s *Lab, round int) (Impact, error) {
			return Replaced(ctx, s, round+1, (*redistest.Server).Stop)
		},
		Mend: Healed,
	}
	Pause = Fault{
		Slug: "pause", Title: "SIGSTOP of a primary for 0.6 s: it is not replaced",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			p, _, topics, err := s.Primary(ctx, round)
			if err != nil {
				return i, err
			}
			i = Impact{Topics: topics, Began: time.Now()}
			if err := p.Stop(); err != nil {
				return i, err
			}
			wait(ctx, 600*time.Millisecond)
			return i, p.Cont()
		},
		Mend: Healed,
	}
	Kill9Replica = Fault{
		Slug: "kill9-replica", Title: "kill -9 of a replica",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			r, _, topics, err := replica(ctx, s, round)
			if err != nil {
				return i, err
			}
			i = Impact{Topics: topics, Began: time.Now()}
			err = r.Kill()
			wait(ctx, 2*time.Second)
			return i, err
		},
		Mend: Healed,
	}
	HungReplica = Fault{
		Slug: "hung-replica", Title: "SIGSTOP of a replica for 3 s",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			r, _, topics, err := replica(ctx, s, round)
			if err != nil {
				return i, err
			}
			i = Impact{Topics: topics, Began: time.Now()}
			if err := r.Stop(); err != nil {
				return i, err
			}
			wait(ctx, 3*time.Second)
			return i, r.Cont()
		},
		Mend: Healed,
	}
	Graceful = Fault{Slug: "failover", Title: "graceful fail-over", Inject: promoted(redistest.Graceful), Mend: Healed}
	TakeOver = Fault{Slug: "takeover", Title: "CLUSTER FAILOVER TAKEOVER", Inject: promoted(redistest.TakeOver), Mend: Healed}

	Kill9Publisher = Fault{
		Slug: "kill9-publisher", Title: "kill -9 of a publisher; another is started",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Began = time.Now()
			return i, s.each(func(t *RunningClient) error { return t.killPublisher(ctx) })
		},
	}
)
