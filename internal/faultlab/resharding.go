package faultlab

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
)

// moved moves n slots from the primary from to another and returns the topics that went with them.
func moved(ctx context.Context, s *Lab, from, to *redistest.Server, n int) (topics []int, err error) {
	before, err := s.topicsAt(ctx, from)
	if err != nil {
		return nil, err
	}
	if err := s.Cluster.MigrateSlots(ctx, from, to, n); err != nil {
		return nil, err
	}
	after, err := s.topicsAt(ctx, from)
	return slices.DeleteFunc(before, func(topic int) bool { return slices.Contains(after, topic) }), err
}

// pair is two primaries that have topics.
func pair(ctx context.Context, s *Lab, round int) (from, to *redistest.Server, topics []int, err error) {
	from, _, topics, err = s.Primary(ctx, round)
	if err != nil {
		return nil, nil, nil, err
	}
	to, _, _, err = s.Primary(ctx, round+1)
	if err == nil && from == to {
		err = errors.New("faultlab: there is one primary only")
	}
	return from, to, topics, err
}

// addPrimary adds a primary and gives it a part of every other's slots.
func addPrimary(ctx context.Context, s *Lab) (topics []int, began time.Time, err error) {
	owners, err := s.Cluster.Primaries(ctx)
	if err != nil {
		return nil, began, err
	}
	s.faults.added, err = s.Cluster.AddPrimary(ctx)
	if err != nil {
		return nil, began, err
	}
	began = time.Now()
	for _, owner := range owners {
		gone, err := moved(ctx, s, owner, s.faults.added, redistest.SlotCount/(len(owners)*(len(owners)+1)))
		if err != nil {
			return nil, began, err
		}
		topics = append(topics, gone...)
	}
	return topics, began, s.Cluster.WaitHealthy(ctx)
}

// removePrimary undoes addPrimary.
func removePrimary(ctx context.Context, s *Lab) (i Impact, err error) {
	others, err := s.Cluster.Primaries(ctx)
	if err != nil {
		return i, err
	}
	others = slices.DeleteFunc(others, func(p *redistest.Server) bool { return p == s.faults.added })
	i.Began = time.Now()
	for n, to := range others {
		view, err := s.faults.added.View(ctx)
		if err != nil {
			return i, err
		}
		share := 0
		for _, r := range view.Myself().Slots {
			share += r.Last - r.First + 1
		}
		share /= len(others) - n // the last gets the rest
		topics, err := moved(ctx, s, s.faults.added, to, share)
		if err != nil {
			return i, err
		}
		i.Topics = append(i.Topics, topics...)
	}
	if err := s.Cluster.WaitHealthy(ctx); err != nil {
		return i, err
	}
	err = s.Cluster.Remove(ctx, s.faults.added)
	i.Known = time.Now()
	return i, errors.Join(err, s.Cluster.WaitHealthy(ctx))
}

// Faults that move slots and nodes.
var (
	MigrateOne = Fault{
		Slug: "migrate1", Title: "migration of one slot",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			_, to, topics, err := pair(ctx, s, round)
			if err != nil {
				return i, err
			}
			i = Impact{Topics: topics[:1], Began: time.Now()}
			err = s.Cluster.MigrateSlot(ctx, SlotOf(s.topics[topics[0]]), to)
			i.Known = time.Now()
			return i, err
		},
		Mend: Healed,
	}
	MigrateThousand = Fault{
		Slug: "migrate1000", Title: "migration of 1000 slots",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			from, to, _, err := pair(ctx, s, round)
			if err != nil {
				return i, err
			}
			i.Began = time.Now()
			i.Topics, err = moved(ctx, s, from, to, 1000)
			i.Known = time.Now()
			return i, err
		},
		Mend: Healed,
	}
	AddPrimary = Fault{
		Slug: "add-primary", Title: "a primary is added and given a quarter of the slots",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Topics, i.Began, err = addPrimary(ctx, s)
			i.Known = time.Now()
			return i, err
		},
		Mend: func(ctx context.Context, s *Lab) error {
			_, err := removePrimary(ctx, s)
			return err
		},
	}
	RemovePrimary = Fault{
		Slug: "remove-primary", Title: "a primary gives its slots away and is removed",
		Prepare: func(ctx context.Context, s *Lab, _ int) error {
			_, _, err := addPrimary(ctx, s)
			return err
		},
		Inject: func(ctx context.Context, s *Lab, _ int) (Impact, error) { return removePrimary(ctx, s) },
	}
	MoveReplica = Fault{
		Slug: "move-replica", Title: "a replica is moved to another shard, and back",
		Inject: func(ctx context.Context, s *Lab, round int) (i Impact, err error) {
			r, p, topics, err := replica(ctx, s, round)
			if err != nil {
				return i, err
			}
			_, to, _, err := pair(ctx, s, round)
			if err != nil {
				return i, err
			}
			others, err := s.topicsAt(ctx, to)
			if err != nil {
				return i, err
			}
			i = Impact{Topics: append(topics, others...), Began: time.Now()}
			if err := s.Cluster.Replicate(ctx, r, to); err != nil {
				return i, err
			}
			wait(ctx, time.Second)
			return i, s.Cluster.Replicate(ctx, r, p)
		},
	}
)
