package logtest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var topicMutants = []mutant{
	{
		name: "forgets what a topic has", meant: "open-again",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			st, err := f.Log.Open(ctx, t)
			for i := range st.Partitions {
				st.Partitions[i] = transport.PartitionState{First: 1, Next: 1}
			}
			return st, err
		},
	},
	{
		name: "keeps the first bounds", meant: "open-changes",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			if first, ok := f.kept.configs[t.Name]; ok {
				t.Retain = first.Retain
			}
			f.kept.configs[t.Name] = t
			return f.Log.Open(ctx, t)
		},
	},
	{
		name: "opens what differs", meant: "open-mismatch",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			st, err := f.Log.Open(ctx, t)
			if errors.Is(err, transport.ErrTopicMismatch) {
				err = nil
			}
			return st, err
		},
	},
	{
		name: "opens what is invalid", meant: "open-invalid",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			st, err := f.Log.Open(ctx, t)
			if errors.Is(err, transport.ErrInvalidTopic) {
				err = nil
			}
			return st, err
		},
	},
	{
		name: "has a new incarnation at each start", meant: "open-incarnation",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			st, err := f.Log.Open(ctx, t)
			st.Incarnation += fmt.Sprintf("%p", f)
			return st, err
		},
	},
	{
		name: "keeps its incarnation when offsets begin anew", meant: "open-incarnation",
		open: func(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
			st, err := f.Log.Open(ctx, t)
			st.Incarnation = t.Name
			return st, err
		},
	},
	{
		name: "lists topics backwards", meant: "topics",
		topics: func(f *faulty) ([]transport.LogTopic, error) {
			topics, err := f.Log.Topics(ctx)
			slices.Reverse(topics)
			return topics, err
		},
	},
	{
		name: "says that it has deleted what is consumed", meant: "delete-topic",
		deleteTopic: func(f *faulty, topic string) error {
			err := f.Log.DeleteTopic(ctx, topic)
			if errors.Is(err, transport.ErrInUse) {
				err = nil
			}
			return err
		},
	},
	{
		name: "deletes nothing", meant: "delete-topic",
		deleteTopic: func(f *faulty, topic string) error {
			if err := f.Log.DeleteTopic(ctx, topic); err != nil {
				return err
			}
			_, err := f.Log.Open(ctx, transport.LogTopic{Name: topic, Codec: "text/plain"})
			return err
		},
	},
}

// instead is an Append that has a batch that failed for one reason taken without a publisher.
func instead(reason error) func(*faulty, context.Context, []transport.Batch, []transport.AppendResult) {
	return func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
		f.right(ctx, batches, results)
		for i := range results {
			if errors.Is(results[i].Err, reason) {
				b := batches[i]
				b.Publisher = transport.PublisherState{}
				results[i] = f.one(b)
			}
		}
	}
}

// changed is an Append that changes batches first.
func changed(change func(f *faulty, b *transport.Batch)) func(*faulty, context.Context, []transport.Batch, []transport.AppendResult) {
	return func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
		batches = slices.Clone(batches)
		for i := range batches {
			change(f, &batches[i])
		}
		f.right(ctx, batches, results)
	}
}

var appendMutants = []mutant{
	{
		name: "acknowledges before it is durable", meant: "append-durable",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			f.n++
			if f.n == 1 { // the next append brings them; a death does not
				f.kept.batches = slices.Clone(batches)
				results[0] = transport.AppendResult{First: 1}
				return
			}
			f.right(ctx, batches, results)
		},
	},
	{
		name: "mixes batches", meant: "append-whole",
		append: func(f *faulty, _ context.Context, batches []transport.Batch, results []transport.AppendResult) {
			for i, b := range batches {
				for j, env := range b.Envelopes {
					b.Envelopes = []*transport.Envelope{env}
					if r := f.one(b); j == 0 {
						results[i] = r
					}
					runtime.Gosched()
				}
			}
		},
	},
	{
		name: "fails all of a call", meant: "append-each",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			f.right(ctx, batches, results)
			for _, r := range results {
				if r.Err != nil {
					results[0] = r
				}
			}
		},
	},
	{
		name: "reads the slices later", meant: "append-slices",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			if f.kept.batches != nil {
				f.right(ctx, f.kept.batches, clonedResults(results))
			}
			f.kept.batches = batches
			results[0] = transport.AppendResult{First: uint64(2*f.n + 1)}
			f.n++
		},
	},
	{
		name: "loses keys", meant: "append-envelope",
		append: changed(func(_ *faulty, b *transport.Batch) {
			for _, env := range b.Envelopes {
				env.Key = ""
			}
		}),
	},
	{
		name: "changes the order", meant: "append-place",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			for i, j := 0, len(f.Entries)-1; i < j; i, j = i+1, j-1 {
				f.Entries[i].Envelope, f.Entries[j].Envelope = f.Entries[j].Envelope, f.Entries[i].Envelope
			}
			return f, err
		},
	},
	{
		name: "takes any payload", meant: "append-too-large",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			f.Log.Append(ctx, batches, results)
		},
	},
	{
		name: "goes on after a failure", meant: "append-fails",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			if f.failed {
				f.failed = false
				results[0].Err = transport.ErrLogFailed
				return
			}
			f.right(ctx, batches, results)
		},
	},
	{
		name: "drops what can't be read", meant: "append-garbled",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			f.Entries = slices.DeleteFunc(f.Entries, func(e transport.Entry) bool { return c.f.kept.garbled[e.Offset] })
			return f, err
		},
	},
	{
		name: "loses numbers", meant: "publisher-next",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			for _, e := range f.Entries {
				e.Envelope.Seq = 0
			}
			return f, err
		},
	},
	{
		name: "adds a repetition", meant: "publisher-repeats",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			f.right(ctx, batches, results)
			if results[0].Repeated {
				b := batches[0]
				b.Publisher = transport.PublisherState{}
				f.one(b)
			}
		},
	},
	{
		name: "forgets the result of the last batch", meant: "publisher-repeats",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			f.right(ctx, batches, results)
			if results[0].Repeated {
				results[0] = transport.AppendResult{Repeated: true}
			}
		},
	},
	{name: "takes numbers that skip", meant: "publisher-skips", append: instead(transport.ErrOutOfSequence)},
	{name: "takes an old epoch", meant: "publisher-epoch", append: instead(transport.ErrStalePublisher)},
	{name: "takes any first number", meant: "publisher-unknown", append: instead(transport.ErrOutOfSequence)},
	{name: "never forgets a publisher", meant: "publisher-idle", append: instead(transport.ErrOutOfSequence)},
	{
		name: "recognises what has no numbers", meant: "publisher-none",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			id := batches[0].Envelopes[0].ID
			if f.kept.names[id]++; f.kept.names[id] > 1 {
				results[0] = transport.AppendResult{Repeated: true}
				return
			}
			f.right(ctx, batches, results)
		},
	},
	{name: "adds an ID again", meant: "user-id", append: changed(func(_ *faulty, b *transport.Batch) { b.UserID = nil })},
	{
		name: "remembers IDs for ever", meant: "user-id-ends",
		append: func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
			id := batches[0].Envelopes[0].ID
			if f.kept.names[id]++; f.kept.names[id] > 1 {
				results[0] = transport.AppendResult{Duplicate: []transport.Duplicate{{Index: 0, Offset: 1}}}
				return
			}
			f.right(ctx, batches, results)
		},
	},
	{
		name: "takes every ID for a user's", meant: "user-id-only",
		append: changed(func(_ *faulty, b *transport.Batch) {
			b.UserID = slices.Repeat([]bool{true}, len(b.Envelopes))
		}),
	},
}

var dueMutants = []mutant{
	{name: "adds at once what waits", meant: "due-waits", append: changed(func(_ *faulty, b *transport.Batch) { b.Due = nil })},
	{
		name: "adds in the order in which it takes", meant: "due-order",
		append: changed(func(f *faulty, b *transport.Batch) {
			for i := range b.Due {
				if f.kept.due.Before(time.Now()) {
					f.kept.due = b.Due[i]
				}
				b.Due[i] = f.kept.due
			}
		}),
	},
	{
		name: "forgets the ID of what waits", meant: "due-id",
		append: changed(func(_ *faulty, b *transport.Batch) {
			if b.Due != nil {
				b.UserID = nil
			}
		}),
	},
	{name: "cancels nothing", meant: "due-cancel", cancel: func(*faulty, string, string) (bool, error) { return true, nil }},
	{
		name: "asks one partition for what to cancel", meant: "due-cancel",
		append: changed(func(_ *faulty, b *transport.Batch) {
			if b.Partition > 0 {
				b.UserID = nil
			}
		}),
	},
	{
		name: "numbers when it adds", meant: "due-seq",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			for _, e := range f.Entries {
				e.Envelope.Seq = e.Offset
			}
			return f, err
		},
	},
}
