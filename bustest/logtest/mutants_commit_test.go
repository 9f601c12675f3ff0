package logtest_test

import (
	"errors"

	"github.com/shardbus/shardbus/transport"
)

// separately commits, and appends what it is to append by itself.
func separately(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
	batches := commit.Append
	commit.Append = nil
	for _, b := range batches {
		if r := c.f.one(b.Batch); r.Err != nil {
			return r.Err
		}
	}
	return c.Consumer.Commit(ctx, l, commit)
}

// forgiving is a Commit that calls an error none.
func forgiving(reason error) func(*faultyConsumer, transport.Lease, transport.Commit) error {
	return func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
		if err := c.Consumer.Commit(ctx, l, commit); !errors.Is(err, reason) {
			return err
		}
		return nil
	}
}

var commitMutants = []mutant{
	{
		name: "loses the last commit", meant: "commit-durable",
		commit: func(*faultyConsumer, transport.Lease, transport.Commit) error { return nil },
	},
	{
		name: "does half of a commit", meant: "commit-atomic",
		commit: func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
			err := c.Consumer.Commit(ctx, l, commit)
			if errors.Is(err, transport.ErrInvalidCommit) {
				_ = c.Consumer.Commit(ctx, l, transport.Commit{Acked: commit.Acked[:1]})
			}
			return err
		},
	},
	{name: "takes a late commit", meant: "commit-fenced", commit: forgiving(transport.ErrFenced)},
	{
		name: "counts a letter twice", meant: "commit-again",
		commit: func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
			c.f.n++
			return c.Consumer.Commit(ctx, l, commit)
		},
		positions: func(f *faulty, topic, consumer string) ([]transport.Position, error) {
			positions, err := f.Log.Positions(ctx, topic, consumer)
			for i := range positions {
				positions[i].Letters = uint64(f.n)
			}
			return positions, err
		},
	},
	{name: "settles beyond the window", meant: "commit-window", commit: forgiving(transport.ErrInvalidCommit)},
	{
		name: "goes back", meant: "commit-low",
		positions: func(f *faulty, topic, consumer string) ([]transport.Position, error) {
			positions, err := f.Log.Positions(ctx, topic, consumer)
			if f.n++; f.n%5 == 0 {
				positions[0].Low--
			}
			return positions, err
		},
	},
	{
		name: "drops Behind", meant: "commit-deferred",
		commit: func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
			for i := range commit.Deferred {
				commit.Deferred[i].Behind = false
			}
			return c.Consumer.Commit(ctx, l, commit)
		},
	},
	{
		name: "loads in an order of its own", meant: "commit-load",
		load: func(c *faultyConsumer, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
			entries, err := c.Consumer.Load(ctx, l, refs)
			return reversed(entries), err
		},
	},
	{
		name: "keeps no copy of a dead event", meant: "commit-dead",
		letters: func(f *faulty, q transport.LetterQuery) (transport.LetterPage, error) {
			page, err := f.Log.Letters(ctx, q)
			for _, l := range page.Letters {
				l.Envelope.Payload = nil
			}
			return page, err
		},
	},
	{
		name: "loses what was published within", meant: "derived",
		commit: func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
			commit.Append = nil
			return c.Consumer.Commit(ctx, l, commit)
		},
	},
	{
		name: "loses the second of two batches", meant: "derived",
		commit: func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error {
			if len(commit.Append) > 1 {
				commit.Append = commit.Append[:1]
			}
			return c.Consumer.Commit(ctx, l, commit)
		},
	},
	{name: "publishes again with a repetition", meant: "derived-once", commit: separately},
	{name: "publishes before it settles", meant: "derived-atomic", commit: separately},
}
